"""How much one activation of each image counts for each logit. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution_mode import AttributionMode, attribution_mode
from atlas_pipeline.models.layer_override import logits_with, scaled
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.products import BackwardPass, Logits, forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient

# A backward pass keeps all that the network computes after the layer.
IMAGES_AT_ONCE = 16

AttributionMethod = Literal["gradient", "integrated"]


def path_points(method: AttributionMethod, num_steps: int) -> tuple[float, ...]:
    """The shares of an activation at which ``attribution`` takes derivatives, of which the mean counts.

    "gradient": at the activation as it is. "integrated": at the midpoints of ``num_steps`` equal steps from
    none of it to all of it. The more steps, the nearer the sum is to what ``ablation`` finds (completeness of
    integrated gradients: Sundararajan et al., 2017), with exact max-pools.
    """
    if method == "gradient":
        return (1.0,)
    return tuple((k + 0.5) / num_steps for k in range(num_steps))


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
    """Attribution ``a . d logit / d h`` to every logit of one activation a = h[:, row, col] an image.

    All classes come from one forward-mode product: the logits' derivative along "h grows by a at the
    position, and nowhere else". On a CPU it takes about as long as three or four forwards from the layer on.
    (Carter et al., 2019.) Networks without forward-mode derivatives take a backward pass a class; which mode
    holds is tried once a layer, see ``attribution_mode``.

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        positions: (B, 2) integers, row and column in the layer's map.
        maxpool_gradient: "exact", or "smooth" for the relaxed max-pool of Building Blocks.
        feature_map: (B, C, rows, columns), this layer's for these images, where it is at hand: where the
            logits depend on the layer alone, a forward from the layer on then suffices.
        classes: which logits; None: all.
        path: the shares of the activation that stand at the position when the derivative is taken, a product
            each; their mean is returned. See ``path_points``.
    Returns: (B, class) float32, in logits.
    Raises:  ModelError: no such layer, no spatial map, or derivatives that cannot be had.
             IndexError: a position outside the map.
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    mode = attribution_mode(network, None, layer, maxpool_gradient, feature_map is not None)
    if mode.mode == "none":
        lost = ablation(network, images, layer, positions, feature_map, classes)
        if not bool((lost != 0).any()):
            return lost
        # The images that the mode was tried with led to nothing, and these do.
        mode = attribution_mode(network, images, layer, maxpool_gradient, feature_map is not None, again=True)
    wanted = range(network.num_classes) if classes is None else classes

    def of(part: slice) -> Tensor:
        at_hand = feature_map[part] if feature_map is not None and mode.through_suffix else None
        logits = logits_with(network, images[part], layer, at_hand)
        starts = [_Start(form, positions[part], share) for share in path]
        derivatives = [_products(logits, start, maxpool_gradient, wanted, mode) for start in starts]
        return torch.stack(derivatives).mean(dim=0)

    at_once = IMAGES_AT_ONCE if mode.mode == "backward" else max(1, len(images))
    return torch.cat([of(slice(start, start + at_once)) for start in range(0, len(images), at_once)])


class _Start:
    """Where derivatives are taken, in terms of a layer's output: a share of one activation an image."""

    def __init__(self, form: MapForm, positions: Any, share: float) -> None:
        self.form, self.positions, self.share = form, positions, share

    def point(self, output: Tensor) -> Tensor:
        """The output with the share of the activations."""
        return scaled(output, self.form, self.positions, self.share)

    def direction(self, output: Tensor) -> Tensor:
        """The activations at the positions, and zero elsewhere, other tokens too."""
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
    """(B, class) float32: the derivatives of these logits along the activations."""
    if mode.mode == "forward":
        along = forward_product(logits, start.point, start.direction, maxpool_gradient)
        if along is not None:
            return along[:, list(classes)]
    # Some images may lose derivatives though those that the mode was tried with do not.
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
