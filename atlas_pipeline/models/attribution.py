"""Attribution of one activation of each image to each logit. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution_mode import AttributionMode, attribution_mode
from atlas_pipeline.models.layer_override import logits_with, scaled
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
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
    feature_map: Tensor | None = None,
    classes: Sequence[int] | None = None,
    path: Sequence[float] = (1.0,),
) -> Tensor:
    """Attribution ``a . d logit / d h`` of one activation a = h[:, row, col] per image to every logit.

    One forward-mode product gives all classes: the derivative of the logits as h grows by a at that position
    and nowhere else (Carter et al., 2019). On a CPU it takes about as long as three or four forward passes
    from the layer on. Networks without forward-mode derivatives need one backward pass per class.
    ``attribution_mode`` decides between the two once per layer.

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        positions: (B, 2) integers, row and column in the layer's map.
        maxpool_gradient: "exact", or "smooth" for the relaxed max-pool of Building Blocks.
        feature_map: (B, C, rows, columns), the layer's map for these images, if already computed. It saves
            the forward pass up to the layer where the logits depend on nothing else.
        classes: indices of the logits to attribute to; None for all.
        path: fractions of the activation at which derivatives are taken, one product each; the result is
            their mean. See ``path_points``.
    Returns: (B, class) float32, in logits.
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
    mode = attribution_mode(network, None, layer, maxpool_gradient, feature_map is not None)
    if mode.mode == "none":
        lost = ablation(network, images, layer, positions, feature_map, classes)
        if not bool((lost != 0).any()):
            return lost
        # The trial images had no effect on the logits, but these images do: try again with them.
        mode = attribution_mode(network, images, layer, maxpool_gradient, feature_map is not None, again=True)
    class_indices = range(network.num_classes) if classes is None else classes

    def attribution_of(part: slice) -> Tensor:
        known_map = feature_map[part] if feature_map is not None and mode.through_suffix else None
        logits = logits_with(network, images[part], layer, known_map)
        starts = [_Start(form, positions[part], share) for share in path]
        derivatives = [_products(logits, start, maxpool_gradient, class_indices, mode) for start in starts]
        return torch.stack(derivatives).mean(dim=0)

    at_once = IMAGES_AT_ONCE if mode.mode == "backward" else max(1, len(images))
    return torch.cat(
        [attribution_of(slice(start, start + at_once)) for start in range(0, len(images), at_once)]
    )


class _Start:
    """A point and a direction for derivatives, as functions of a layer's output.

    The point scales one activation per image to a fraction of itself; the direction is that activation.
    """

    def __init__(self, form: MapForm, positions: Any, share: float) -> None:
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


def _products(
    logits: Logits,
    start: _Start,
    maxpool_gradient: MaxPoolGradient,
    classes: Sequence[int],
    mode: AttributionMode,
) -> Tensor:
    """(B, class) float32: derivatives of the chosen logits along the activations."""
    if mode.mode == "forward":
        along = forward_product(logits, start.point, start.direction, maxpool_gradient)
        if along is not None:
            return along[:, list(classes)]
    # These images may lose derivatives even if the trial images did not.
    directions: list[Tensor] = []

    def point(output: Tensor) -> Tensor:
        directions.append(start.direction(output))
        return start.point(output)

    passes = BackwardPass(logits, point, maxpool_gradient)
    if not passes.reaches_logits():
        return torch.zeros(len(passes.logits), len(classes), device=passes.logits.device)
    at = start.form.place(directions[0], start.positions)
    columns = [
        (gradient[at] * directions[0][at]).float().sum(dim=1)
        for gradient in passes.gradients(classes, batched=mode.batched)
    ]
    return torch.stack(columns, dim=1)
