"""Which derivatives of a network can be believed. B = batch, K = classes.

Forward mode gives all classes at once, but some operations lose its tangents without a word (operators of
extensions, inference mode), and the derivative then looks like zero. So both modes are tried once along a
random direction v with random weights w of the classes: the forward product and the backward pass must give
the same ``sum_k w_k d logit_k`` along v. Where they differ, small steps along v tell which of them is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.graph import same, suffix
from atlas_pipeline.models.image_size import is_out_of_memory
from atlas_pipeline.models.layer_override import logits_with
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.plain_module import first_line
from atlas_pipeline.models.products import BackwardPass, Logits, forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient

# Each image is tried along so many directions.
NUM_DIRECTIONS = 3
# The relative difference of two right derivatives is less: that is rounding. And in networks of 16 bits.
TOLERANCE, TOLERANCE_16 = 1e-3, 5e-2
# Steps along v, as shares of it. Kinks disturb long ones, rounding short ones: by a fifth in deep networks.
STEPS, STEPS_16 = (1e-2, 1e-3, 1e-4), (0.3, 0.1, 0.03)
# Forward mode is believed against a backward pass where it lies so much nearer to what a step shows.
NEARER = 0.5
# Derivatives are tried where the layer's output is this share of its own: code that runs a layer once more in
# its backward pass would take the output itself, and be wrong wherever something else stands in its place.
SHARE = 0.7
REMEDY = "set sample.attribution_method: ablation, or sample.attribution: none"

# A number an image, or why there is none.
Derivative = Tensor | str


@dataclass(frozen=True, slots=True)
class AttributionMode:
    """How a layer's attributions are had.

    mode: "forward" by one product for all classes, "backward" by a pass a class, "none": they are zero, for
    the logits do not depend on the layer. through_suffix: from the feature map on, and not through the whole
    network. batched: a backward pass takes several classes at once. remark: what people should know, a line.
    """

    mode: Literal["forward", "backward", "none"]
    through_suffix: bool = False
    batched: bool = False
    remark: str | None = None


def attribution_mode(
    network: Network,
    images: Tensor | None,
    layer: str,
    maxpool_gradient: MaxPoolGradient,
    has_map: bool = True,
    again: bool = False,
) -> AttributionMode:
    """How attributions of ``layer`` are had: tried once, and kept in the network.

    Args:   images: (B, 3, S, S) in [0, 1] or uint8, on the network's device; the first two are tried. None:
            noise. has_map: whether the layer's feature map is at hand when attributions are taken. again: try
            anew, with these images.
    Raises: ModelError: no such layer, or derivatives of the logits that cannot be had.
    """
    key = (layer, maxpool_gradient, has_map)
    if again or key not in network.attribution_modes:
        check_layers(network, [layer])
        if images is None:
            images = noise_images(network.preprocess.crop, seed=0, num_images=2).to(network.device)
        with torch.inference_mode(False):
            trial = _Trial(network, images[:2].clone(), layer, maxpool_gradient, has_map)
            network.attribution_modes[key] = trial.mode()
    return network.attribution_modes[key]


class _Trial:
    """Derivatives of a layer along random directions."""

    def __init__(
        self, network: Network, images: Tensor, layer: str, maxpool_gradient: MaxPoolGradient, has_map: bool
    ) -> None:
        form = network.runs[layer].form
        assert form is not None, layer
        self.network, self.layer, self.form, self.kind = network, layer, form, maxpool_gradient
        images = images.repeat(NUM_DIRECTIONS, 1, 1, 1)
        self.whole = logits_with(network, images, layer)
        # Ways from the layer to the logits, the cheapest first.
        self.ways = [self.whole]
        if has_map and suffix(network, layer) is not None:
            with torch.no_grad():
                feature_map = feature_maps(network, images, [layer])[layer]
            self.ways.insert(0, logits_with(network, images, layer, feature_map))

    def mode(self) -> AttributionMode:
        """Raises: ModelError: no derivative can be had and believed."""
        backward = self._backward(self.kind)
        found: list[Derivative] = []
        for logits in self.ways:
            found.append(self._forward(logits, self.kind))
            if _agree(found[-1], backward, TOLERANCE):
                return self._by_forward(logits)
        if not any(map(_is_something, [*found, backward])):
            return self._by_nothing([*found, backward])
        if not any(map(_is_something, found)):
            return self._by_backward(found[-1])
        sixteen = self._computes_in_16_bits()
        for logits, forward in zip(self.ways, found, strict=True):
            if sixteen and _agree(forward, backward, TOLERANCE_16):
                return self._by_forward(logits)
        # One of the modes is wrong. The relaxed max-pool is no derivative: steps are held against exact ones.
        steps = [self._step(step) for step in (STEPS_16 if sixteen else STEPS)]
        at_most = NEARER * _distance(self._backward("exact"), steps)
        for logits, forward in zip(self.ways, found, strict=True):
            if _is_something(forward) and _distance(self._forward(logits, "exact"), steps) < at_most:
                return self._by_forward(logits)
        if _is_something(backward):
            return self._by_backward("derivatives are lost")
        raise ModelError(
            f"{self.network.name} has no attribution from layer '{self.layer}': no backward pass gets there, "
            f"and derivatives in forward mode are not what a small step shows; {REMEDY}"
        )

    def _by_forward(self, logits: Logits) -> AttributionMode:
        return AttributionMode("forward", through_suffix=logits is not self.whole)

    def _by_backward(self, forward: Derivative) -> AttributionMode:
        reason = forward if isinstance(forward, str) else "derivatives are lost"
        remark = (
            f"attributions take a backward pass for each of the {self.network.num_classes} classes, for "
            f"forward mode fails ({reason}); sample.attribution_method: ablation takes two forwards in all"
        )
        return AttributionMode("backward", batched=self._allows_batches(), remark=remark)

    def _by_nothing(self, found: list[Derivative]) -> AttributionMode:
        """Raises: ModelError: the logits do depend on the layer."""
        if not same(self._stepped(0.0), self._stepped(1.0)):
            reasons = [reason for reason in found if isinstance(reason, str)]
            reason = reasons[0] if reasons else "it is detached, rounded, or in inference mode"
            raise ModelError(
                f"{self.network.name} has no attribution from layer '{self.layer}': the logits depend on it, "
                f"but no derivative gets there ({reason}); {REMEDY}"
            )
        remark = "every attribution is zero, for the logits do not depend on this layer"
        return AttributionMode("none", remark=remark)

    def _forward(self, logits: Logits, kind: MaxPoolGradient) -> Derivative:
        def derivative() -> Tensor:
            along = forward_product(logits, _shrunk, self._direction, kind)
            return torch.zeros(1) if along is None else (along * _weights(along)).sum(dim=1)

        return _tried(derivative)

    def _backward(self, kind: MaxPoolGradient) -> Derivative:
        def derivative() -> Tensor:
            passes = BackwardPass(self.whole, _shrunk, kind)
            products = passes.gradient(_weights(passes.logits)) * self._direction(passes.point / SHARE)
            # As a map: in some outputs the batch is the second axis.
            return self.form.to_map(products).float().flatten(1).sum(dim=1)

        return _tried(derivative)

    def _step(self, step: float) -> Derivative:
        """The difference of the logits between a step to either side, over its length."""

        def derivative() -> Tensor:
            after, before = self._stepped(step), self._stepped(-step)
            return ((after - before) / (2 * step) * _weights(after)).sum(dim=1)

        return _tried(derivative)

    def _stepped(self, step: float) -> Tensor:
        """The logits after a step along the direction."""
        with torch.no_grad():
            return self.whole(lambda output: _shrunk(output) + step * self._direction(output))

    def _direction(self, output: Tensor) -> Tensor:
        """Random on the feature map, zero on tokens that belong to no position; as large as the output."""
        direction = torch.zeros_like(output)
        noise = torch.randn(self.form.to_map(output).shape, generator=torch.Generator().manual_seed(0))
        size = float(output.float().square().mean().sqrt())
        self.form.write(noise.to(output) * (size or 1.0), direction)
        return direction

    def _allows_batches(self) -> bool:
        """Whether batched backward passes run, and give what single ones do."""
        passes = BackwardPass(self.whole, _shrunk, self.kind)
        classes = range(min(2, self.network.num_classes))
        single = torch.stack(list(passes.gradients(classes, batched=False)))
        try:
            together = torch.stack(list(passes.gradients(classes, batched=True)))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False
        return _agree(together.float().flatten(1), single.float().flatten(1), TOLERANCE)

    def _computes_in_16_bits(self) -> bool:
        """Whether any module gives 16-bit numbers."""
        found: set[torch.dtype] = set()

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.add(output.dtype)

        names = [name for name in self.network.runs if name != self.layer]
        with torch.no_grad(), hooked(self.network.module, dict.fromkeys(names, hook)):
            self.whole(_shrunk)
        return bool(found & {torch.float16, torch.bfloat16})


def _shrunk(output: Tensor) -> Tensor:
    return output * SHARE


def _weights(logits: Tensor) -> Tensor:
    """Random weights of the classes, (B, K)."""
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)


def _tried(derivative: Callable[[], Tensor]) -> Derivative:
    try:
        return derivative().cpu()
    except ModelError:
        raise
    except Exception as error:
        # A user's code, and the libraries it calls, may raise anything.
        if is_out_of_memory(error):
            raise
        return first_line(error)


def _is_something(derivative: Derivative) -> bool:
    return isinstance(derivative, Tensor) and bool((derivative != 0).any())


def _distance(derivative: Derivative, steps: list[Derivative]) -> float:
    """How far the derivative lies from the nearest of the steps, relative to that; 1 where there is none."""
    if isinstance(derivative, str):
        return 1.0
    known = [step for step in steps if isinstance(step, Tensor)]
    return min((float((derivative - step).norm() / step.norm()) for step in known), default=1.0)


def _agree(derivative: Derivative, other: Derivative, tolerance: float) -> bool:
    """Both are numbers, not all zero, and nearly the same."""
    if isinstance(derivative, str) or isinstance(other, str) or derivative.shape != other.shape:
        return False
    size = torch.maximum(derivative.norm(), other.norm())
    # Not: infinite ones and NaN agree with nothing.
    return bool(size > 0) and bool((derivative - other).norm() <= tolerance * size)
