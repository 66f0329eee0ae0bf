"""Attribution of activations at chosen positions to each logit. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution_mode import AttributionMode, attribution_mode
from atlas_pipeline.models.layer_override import by_position, joined, logits_with, scaled
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import Index, MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.products import BackwardPass, Logits, forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient

# A backward pass keeps every intermediate result after the layer in memory.
IMAGES_AT_ONCE = 16

AttributionMethod = Literal["gradient", "integrated"]


def path_points(method: AttributionMethod, num_steps: int) -> tuple[float, ...]:
    """Fractions of the activation at which ``attribution`` takes derivatives, to be averaged.

    "gradient": 1, the activation as it is. "integrated": the midpoints of ``num_steps`` equal steps from 0 to
    1. With more steps, the sum approaches the result of ``ablation``, given exact max-pools (completeness of
    integrated gradients: Sundararajan et al., 2017).
    """
    if method == "gradient":
        return (1.0,)
    return tuple((k + 0.5) / num_steps for k in range(num_steps))


@ieee()
def attribution(
    network: Network,
    images: Tensor,
    layer: str,
    positions: Any,
    maxpool_gradient: MaxPoolGradient = "exact",
    output: Tensor | None = None,
    classes: Sequence[int] | None = None,
    path: Sequence[float] = (1.0,),
) -> Tensor:
    """Attribution ``a . d logit / d h`` of activations a = h[:, row, col] to every logit.

    One forward-mode product for each position of an image gives all classes: the derivative of the logits as
    h grows by a at that position and nowhere else (Carter et al., 2019). On a CPU it takes about as long as
    three or four forward passes from the layer on. Networks without forward-mode derivatives need one
    backward pass per class, which serves all positions where the path is 1 alone. ``attribution_mode``
    decides between the two once per layer.

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        positions: (B, ..., 2) integers, row and column in the layer's map.
        maxpool_gradient: "exact", or "smooth" for the relaxed max-pool of Building Blocks.
        output: the layer's output for these images (see ``layer_outputs``), if already computed. It saves
            the forward pass up to the layer where the logits depend on nothing else.
        classes: indices of the logits to attribute to; None for all.
        path: fractions of the activation at which derivatives are taken, one product each; the result is
            their mean. See ``path_points``.
    Returns: (B, ..., class) float32, in logits.
    Raises:  ModelError: no such layer, no spatial map, or no derivatives available.
             IndexError: a position outside the map.

    Example:
        >>> import torch
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> network = open_network(ModelSpec(source="demo"))
        >>> images = torch.rand(2, 3, 64, 64)
        >>> attribution(network, images, "mixed4", positions=[[3, 3], [0, 7]]).shape
        torch.Size([2, 30])
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    mode = attribution_mode(network, None, layer, maxpool_gradient, output is not None)
    if mode.mode == "none":
        lost = ablation(network, images, layer, positions, output, classes)
        if not bool((lost != 0).any()):
            return lost
        # The trial images had no effect on the logits, but these images do: try again with them.
        mode = attribution_mode(network, images, layer, maxpool_gradient, output is not None, again=True)
    indices = list(range(network.num_classes) if classes is None else classes)
    each = by_position(positions)

    def attribution_of(part: slice) -> list[Tensor]:
        known = None
        if output is not None and mode.through_suffix:
            known = output.movedim(form.batch_axis, 0)[part].movedim(0, form.batch_axis)
        products = _Products(
            logits=logits_with(network, images[part], layer, known),
            form=form,
            positions=[at[part] for at in each],
            maxpool_gradient=maxpool_gradient,
            classes=indices,
            mode=mode,
        )
        by_share = [products.at(share) for share in path]
        return [torch.stack(of_position).mean(dim=0) for of_position in zip(*by_share, strict=True)]

    at_once = IMAGES_AT_ONCE if mode.mode == "backward" else max(1, len(images))
    parts = [attribution_of(slice(start, start + at_once)) for start in range(0, len(images), at_once)]
    return joined([torch.cat(of_position) for of_position in zip(*parts, strict=True)], positions)


class _Start:
    """A point and a direction for derivatives, as functions of a layer's output.

    The point scales one activation per image to a fraction of itself; the direction is that activation.
    """

    def __init__(self, form: MapForm, positions: Tensor, share: float) -> None:
        self.form, self.positions, self.share = form, positions, share

    def point(self, output: Tensor) -> Tensor:
        """The output with the chosen activations scaled."""
        return scaled(output, self.form, self.positions, self.share)

    def direction(self, output: Tensor) -> Tensor:
        """The chosen activations, and zero everywhere else, including tokens without a position."""
        direction = torch.zeros_like(output)
        at = self.form.place(output, self.positions)
        direction[at] = output[at]
        return direction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Products:
    """Derivatives of the chosen logits along activations. positions: (B, 2) for each position of an image."""

    logits: Logits
    form: MapForm
    positions: Sequence[Tensor]
    maxpool_gradient: MaxPoolGradient
    classes: Sequence[int]
    mode: AttributionMode

    def at(self, share: float) -> list[Tensor]:
        """(B, class) float32 by position, with ``share`` of the activation there."""
        starts = [_Start(self.form, positions, share) for positions in self.positions]
        if self.mode.mode == "forward":
            along = [
                forward_product(self.logits, start.point, start.direction, self.maxpool_gradient)
                for start in starts
            ]
            found = [one[:, self.classes] for one in along if one is not None]
            if len(found) == len(along):
                return found
        # These images may lose derivatives even if the trial images did not.
        if share == 1:
            return self._backward(starts)
        return [found for start in starts for found in self._backward([start])]

    def _backward(self, starts: Sequence[_Start]) -> list[Tensor]:
        """By position; the backward passes are taken at the first one's point."""
        places: list[Index] = []
        activations: list[Tensor] = []

        def point(output: Tensor) -> Tensor:
            places.extend(self.form.place(output, start.positions) for start in starts)
            activations.extend(output[place].detach().clone() for place in places)
            return starts[0].point(output)

        passes = BackwardPass(self.logits, point, self.maxpool_gradient)
        if not passes.reaches_logits():
            none = torch.zeros(len(passes.logits), len(self.classes), device=passes.logits.device)
            return [none] * len(starts)
        columns: list[list[Tensor]] = [[] for _ in starts]
        for gradient in passes.gradients(self.classes, batched=self.mode.batched):
            for column, place, activation in zip(columns, places, activations, strict=True):
                column.append((gradient[place] * activation).float().sum(dim=1))
        return [torch.stack(column, dim=1) for column in columns]
