"""Logits of a network with one layer's output replaced. B = batch, C = channels."""

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
"""Maps a layer's output to its replacement, in new memory, since later layers may work in place.

Where a tuple or another container holds the output, it gets the tensor alone."""


def logits_with(
    network: Network, images: Tensor, layer: str, feature_map: Tensor | None = None
) -> Callable[[Replace], Tensor]:
    """A function from a replacement of the output of ``layer`` to the logits (B, class).

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        feature_map: (B, C, rows, columns), the layer's map for these images, if already computed. Each call
            then starts at the layer, provided that the logits depend on nothing else.
    """
    form = network.runs[layer].form
    # The logits depend on class and register tokens, which a feature map lacks: no suffix for such layers.
    output = form.to_output(feature_map) if form is not None and feature_map is not None else None
    tail = suffix(network, layer) if output is not None else None

    def logits(replace: Replace) -> Tensor:
        if tail is not None and output is not None:
            return network.checked_logits(tail(replace(output)))
        return _logits_through(network, images, layer, replace)

    return logits


def scaled(output: Tensor, form: MapForm, positions: Any, share: float) -> Tensor:
    """A copy of a layer's output with each image's activation at its position multiplied by ``share``.

    Args:   positions: (B, 2) integers, row and column in the layer's map.
    Raises: IndexError: a position outside the map.
    """
    copy = output.clone()
    at = form.place(output, positions)
    copy[at] = copy[at] * share
    return copy


def _logits_through(network: Network, images: Tensor, layer: str, replace: Replace) -> Tensor:
    """The logits of a full forward pass with the layer's output (of its last run) replaced."""
    runs_left = network.runs[layer].times

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal runs_left
        runs_left -= 1
        tensor = held_tensor(output)
        return with_tensor(output, replace(tensor)) if runs_left == 0 and tensor is not None else None

    with hooked(network.module, {layer: hook}):
        return network.logits(images)
