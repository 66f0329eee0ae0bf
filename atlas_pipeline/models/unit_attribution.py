"""Attribution of single units at chosen positions to every logit. B = batch, C = channels, K = classes."""

from __future__ import annotations

import torch
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.layer_override import logits_with
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.products import BackwardPass, forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient


@ieee()
def unit_attribution(
    network: Network,
    images: Tensor,
    layer: str,
    units: Tensor,
    positions: Tensor,
    maxpool_gradient: MaxPoolGradient = "exact",
) -> Tensor:
    """Attribution ``a_k d logit / d h_k`` of one unit k at one position of each image, to every logit.

    Over all units of a position they add up to `attribution.attribution` of that position.

    Args:    images: (B, 3, side, side) in [0, 1] or uint8, on the network's device. units: (B,) int64.
             positions: (B, 2) int64, row and column in the layer's map. maxpool_gradient: see `attribution`.
    Returns: (B, K) float32, in logits; 0 where the layer's output never reaches the logits.
    Raises:  ModelError: no such layer, or no spatial map.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> network, at = open_network(ModelSpec(source="demo")), torch.tensor([[3, 4]])
    >>> unit_attribution(network, torch.rand(1, 3, 64, 64), "mixed4", torch.tensor([5]), at).shape
    torch.Size([1, 30])
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    mode = attribution_mode(network, None, layer, maxpool_gradient, False)
    if mode.mode == "none":
        return torch.zeros(len(images), network.num_classes, device=network.device)
    logits, start = logits_with(network, images, layer, None), _UnitStart(form, units, positions)
    if mode.mode == "forward":
        along = forward_product(logits, torch.clone, start.direction, maxpool_gradient)
        if along is not None:
            return along.float()
    passes = BackwardPass(logits, torch.clone, maxpool_gradient)
    if not passes.reaches_logits():
        return torch.zeros(len(images), network.num_classes, device=network.device)
    activation = start.values(passes.point)
    columns = [
        start.values(gradient) * activation
        for gradient in passes.gradients(range(network.num_classes), batched=mode.batched)
    ]
    return torch.stack(columns, dim=1).float()


class _UnitStart:
    """One unit at one position of each image, in a layer's output."""

    def __init__(self, form: MapForm, units: Tensor, positions: Tensor) -> None:
        self._form, self._units, self._positions = form, units, positions

    def values(self, output: Tensor) -> Tensor:
        """The units' values in the output: (B,)."""
        at = output[self._form.place(output, self._positions)]
        return at.gather(1, self._units.to(at.device)[:, None]).squeeze(1)

    def direction(self, output: Tensor) -> Tensor:
        """The units' activations, and zero everywhere else."""
        direction, place = torch.zeros_like(output), self._form.place(output, self._positions)
        activation = output[place]
        which = self._units.to(activation.device)[:, None]
        direction[place] = torch.zeros_like(activation).scatter_(1, which, activation.gather(1, which))
        return direction
