"""The logits of a network in which a layer's output is replaced. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.graph import suffix
from atlas_pipeline.models.held_tensor import held_tensor, with_tensor
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network

Replace = Callable[[Tensor], Tensor]
"""A layer's output to what takes its place: new memory, for what follows may work in place.

The tensor alone, where a tuple or another container holds it."""


def logits_with(
    network: Network, images: Tensor, layer: str, feature_map: Tensor | None = None
) -> Callable[[Replace], Tensor]:
    """A function that gives the logits (B, class) for what the output of ``layer`` is replaced by.

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        feature_map: (B, C, rows, columns), this layer's for these images, where it is at hand: where the
            logits depend on the layer alone, each call then is a forward from the layer on.
    """
    form = network.runs[layer].form
    # Class and register tokens are in no feature map, and the logits depend on them: no tail then.
    output = form.to_output(feature_map) if form is not None and feature_map is not None else None
    tail = suffix(network, layer) if output is not None else None

    def logits(replace: Replace) -> Tensor:
        if tail is not None and output is not None:
            return network.checked_logits(tail(replace(output)))
        return _logits_through(network, images, layer, replace)

    return logits


def scaled(output: Tensor, form: MapForm, positions: Any, share: float) -> Tensor:
    """A copy of a layer's output with ``share`` of each image's activation at its position.

    Args:   positions: (B, 2) integers, row and column in the layer's map.
    Raises: IndexError: a position outside the map.
    """
    copy = output.clone()
    at = form.place(output, positions)
    copy[at] = copy[at] * share
    return copy


def _logits_through(network: Network, images: Tensor, layer: str, replace: Replace) -> Tensor:
    """The logits of a whole forward in which the layer's output (of its last run) is replaced."""
    runs_left = network.runs[layer].times

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal runs_left
        runs_left -= 1
        tensor = held_tensor(output)
        return with_tensor(output, replace(tensor)) if runs_left == 0 and tensor is not None else None

    with hooked(network.module, {layer: hook}):
        return network.logits(images)
