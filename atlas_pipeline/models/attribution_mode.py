"""Choice between forward-mode and backward-mode derivatives for a layer. B = batch, K = classes.

Forward mode gives all classes at once, but some operations drop its tangents silently (operators of
extensions, inference mode), and the derivative then looks like zero. So each layer is tried once with both
modes, along a random direction v and with random class weights w: the forward product and the backward pass
must give the same ``sum_k w_k d logit_k`` along v. Where they disagree, finite differences along v show which
one is right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.graph import same
from atlas_pipeline.models.layer_override import Replace, logits_with
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.plain_module import first_line
from atlas_pipeline.models.products import BackwardPass, Logits, forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient
from atlas_pipeline.models.suffix import suffix

# Number of random directions tried for each image.
NUM_DIRECTIONS = 3
# Two correct derivatives differ by less than this, relatively, due to rounding: in float32, and in networks
# that compute in 16 bits.
TOLERANCE, TOLERANCE_16 = 1e-3, 5e-2
# Finite-difference steps as fractions of v. Kinks disturb long steps and rounding disturbs short ones; in
# deep networks the error reaches a fifth.
STEP_SIZES, STEP_SIZES_16 = (1e-2, 1e-3, 1e-4), (0.3, 0.1, 0.03)
# Forward mode wins over a backward pass if its distance to the finite differences is below this fraction of
# the backward pass's distance.
NEARER_FACTOR = 0.5
# The trial multiplies the layer's output by this factor. Code that runs a layer again in its backward pass
# uses the original output, which gives wrong derivatives wherever another value replaces it; the factor
# reveals this.
POINT_SCALE = 0.7
REMEDY = "set sample.attribution_method: ablation, or sample.attribution: none"

# One number per image, or the reason why there is none.
Derivative = Tensor | str


@dataclass(frozen=True, slots=True)
class AttributionMode:
    """How the attributions of a layer are computed.

    mode: "forward" is one product for all classes; "backward" is one pass per class; "none" means that all
    attributions are zero, since the logits do not depend on the layer. through_suffix: start at the layer's
    output instead of running the whole network. batched: one backward pass handles several classes. remark:
    one line for the user, or None.
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
    has_output: bool = True,
    again: bool = False,
) -> AttributionMode:
    """Find how attributions of ``layer`` are computed; tried once, then cached in the network.

    Args:
        images: (B, 3, S, S) in [0, 1] or uint8, on the network's device; the first two are used. None: noise.
        has_output: whether the layer's output is available when attributions are computed.
        again: ignore the cached result and try again with these images.
    Raises: ModelError: no such layer, or no derivatives of the logits available.
    """
    key = (layer, maxpool_gradient, has_output)
    if again or key not in network.attribution_modes:
        check_layers(network, [layer])
        if images is None:
            images = noise_images(network.preprocess.crop, seed=0, num_images=2).to(network.device)
        with ieee(), torch.inference_mode(False):
            trial = _Trial(network, images[:2].clone(), layer, maxpool_gradient, has_output)
            network.attribution_modes[key] = trial.mode()
    return network.attribution_modes[key]


class _Trial:
    """Derivatives of the logits along random directions in a layer's output."""

    def __init__(
        self,
        network: Network,
        images: Tensor,
        layer: str,
        maxpool_gradient: MaxPoolGradient,
        has_output: bool,
    ) -> None:
        form = network.runs[layer].form
        assert form is not None, layer
        self.network, self.layer, self.form, self.kind = network, layer, form, maxpool_gradient
        self.direction = random_direction(form)
        images = images.repeat(NUM_DIRECTIONS, 1, 1, 1)
        self.whole = logits_with(network, images, layer)
        # Ways to compute the logits from the layer, the cheapest first.
        self.logits_functions = [self.whole]
        if has_output and suffix(network, layer) is not None:
            with torch.no_grad():
                output = layer_outputs(network, images, [layer])[layer]
            self.logits_functions.insert(0, logits_with(network, images, layer, output))

    def mode(self) -> AttributionMode:
        """Compare the modes and choose one.

        Raises: ModelError: no trustworthy derivative.
        """
        backward = self._backward(self.kind)
        found: list[Derivative] = []
        for logits in self.logits_functions:
            found.append(self._forward(logits, self.kind))
            if agree(found[-1], backward, TOLERANCE):
                return self._forward_mode(logits)
        if not any(map(_is_nonzero, [*found, backward])):
            return self._zero_mode([*found, backward])
        if not any(map(_is_nonzero, found)):
            return self._backward_mode(found[-1])
        is_16_bit = self._computes_in_16_bits()
        for logits, forward in zip(self.logits_functions, found, strict=True):
            if is_16_bit and agree(forward, backward, TOLERANCE_16):
                return self._forward_mode(logits)
        # One of the modes is wrong. Finite differences are compared with the exact max-pool, since the
        # relaxed max-pool gives no true derivative.
        steps = [self._step(step) for step in (STEP_SIZES_16 if is_16_bit else STEP_SIZES)]
        largest_distance = NEARER_FACTOR * _distance(self._backward("exact"), steps)
        for logits, forward in zip(self.logits_functions, found, strict=True):
            if _is_nonzero(forward) and _distance(self._forward(logits, "exact"), steps) < largest_distance:
                return self._forward_mode(logits)
        if _is_nonzero(backward):
            return self._backward_mode("derivatives are lost")
        raise ModelError(
            f"{self.network.name} has no attribution from layer '{self.layer}': no backward pass reaches it, "
            f"and forward-mode derivatives disagree with finite differences; {REMEDY}"
        )

    def _forward_mode(self, logits: Logits) -> AttributionMode:
        return AttributionMode("forward", through_suffix=logits is not self.whole)

    def _backward_mode(self, forward: Derivative) -> AttributionMode:
        reason = forward if isinstance(forward, str) else "derivatives are lost"
        remark = (
            f"attributions take a backward pass for each of the {self.network.num_classes} classes, for "
            f"forward mode fails ({reason}); sample.attribution_method: ablation takes two forwards in all"
        )
        return AttributionMode("backward", batched=self._allows_batches(), remark=remark)

    def _zero_mode(self, found: list[Derivative]) -> AttributionMode:
        """The mode "none".

        Raises: ModelError: the logits do depend on the layer.
        """
        if not same(self._stepped(0.0), self._stepped(1.0)):
            reasons = [reason for reason in found if isinstance(reason, str)]
            reason = reasons[0] if reasons else "it is detached, rounded, or in inference mode"
            raise ModelError(
                f"{self.network.name} has no attribution from layer '{self.layer}': the logits depend on it, "
                f"but no derivative reaches it ({reason}); {REMEDY}"
            )
        remark = "every attribution is zero, for the logits do not depend on this layer"
        return AttributionMode("none", remark=remark)

    def _forward(self, logits: Logits, kind: MaxPoolGradient) -> Derivative:
        def derivative() -> Tensor:
            along = forward_product(logits, _scaled_down, self.direction, kind)
            return torch.zeros(1) if along is None else (along * _weights(along)).sum(dim=1)

        return _value_or_reason(derivative)

    def _backward(self, kind: MaxPoolGradient) -> Derivative:
        def derivative() -> Tensor:
            passes = BackwardPass(self.whole, _scaled_down, kind)
            products = passes.gradient(_weights(passes.logits)) * self.direction(passes.point / POINT_SCALE)
            # Converted to a map, since the batch is the second axis in some outputs.
            return self.form.to_map(products).float().flatten(1).sum(dim=1)

        return _value_or_reason(derivative)

    def _step(self, step: float) -> Derivative:
        """The central difference of the logits along the direction, divided by the step."""

        def derivative() -> Tensor:
            after, before = self._stepped(step), self._stepped(-step)
            return ((after - before) / (2 * step) * _weights(after)).sum(dim=1)

        return _value_or_reason(derivative)

    def _stepped(self, step: float) -> Tensor:
        """The logits after a step along the direction."""
        with torch.no_grad():
            return self.whole(lambda output: _scaled_down(output) + step * self.direction(output))

    def _allows_batches(self) -> bool:
        """Whether batched backward passes run and agree with single ones."""
        passes = BackwardPass(self.whole, _scaled_down, self.kind)
        classes = range(min(2, self.network.num_classes))
        single = torch.stack(list(passes.gradients(classes, batched=False)))
        try:
            together = torch.stack(list(passes.gradients(classes, batched=True)))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False
        return agree(together.float().flatten(1), single.float().flatten(1), TOLERANCE)

    def _computes_in_16_bits(self) -> bool:
        """Whether any module outputs 16-bit floats."""
        found: set[torch.dtype] = set()

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.add(output.dtype)

        names = [name for name in self.network.runs if name != self.layer]
        with torch.no_grad(), hooked(self.network.module, dict.fromkeys(names, hook)):
            self.whole(_scaled_down)
        return bool(found & {torch.float16, torch.bfloat16})


def random_direction(form: MapForm) -> Replace:
    """A function from a layer's output to random values of its RMS; zero on tokens without a position."""

    def direction(output: Tensor) -> Tensor:
        values = torch.zeros_like(output)
        noise = torch.randn(form.to_map(output).shape, generator=torch.Generator().manual_seed(0))
        size = float(output.float().square().mean().sqrt())
        form.write(noise.to(output) * (size or 1.0), values)
        return values

    return direction


def _scaled_down(output: Tensor) -> Tensor:
    return output * POINT_SCALE


def _weights(logits: Tensor) -> Tensor:
    """Random class weights, (B, K)."""
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)


def _value_or_reason(derivative: Callable[[], Tensor]) -> Derivative:
    try:
        return derivative().cpu()
    except ModelError:
        raise
    except Exception as error:
        # User code and the libraries that it calls may raise anything.
        if is_out_of_memory(error):
            raise
        return first_line(error)


def _is_nonzero(derivative: Derivative) -> bool:
    return isinstance(derivative, Tensor) and bool((derivative != 0).any())


def _distance(derivative: Derivative, steps: list[Derivative]) -> float:
    """Relative distance to the nearest finite difference; 1 where there is no number to compare."""
    if isinstance(derivative, str):
        return 1.0
    known = [step for step in steps if isinstance(step, Tensor)]
    return min((float((derivative - step).norm() / step.norm()) for step in known), default=1.0)


def agree(derivative: Derivative, other: Derivative, tolerance: float) -> bool:
    """Whether both are numbers, not all zero, and equal within ``tolerance``."""
    if isinstance(derivative, str) or isinstance(other, str) or derivative.shape != other.shape:
        return False
    size = torch.maximum(derivative.norm(), other.norm())
    # Infinite values and NaN agree with nothing.
    return bool(size > 0) and bool((derivative - other).norm() <= tolerance * size)
