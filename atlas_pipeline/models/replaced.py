"""The logits of a network in which a layer's output is replaced. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.graph import suffix
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network

Replace = Callable[[Tensor], Tensor]
"""A layer's output to what takes its place: new memory, for what follows may work in place."""


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
    # Written through the map, which is a view.
    feature_map = form.to_map(copy)
    at = place(feature_map, positions)
    feature_map[at] = feature_map[at] * share
    return copy


def place(feature_map: Tensor, positions: Any) -> tuple[Tensor, slice, Tensor, Tensor]:
    """The index of each image's activation: ``feature_map[place(...)]`` is (B, C).

    Raises: IndexError: a position outside the map.
    """
    places = torch.as_tensor(positions, dtype=torch.long).cpu()
    height, width = feature_map.shape[2:]
    if bool((places < 0).any()) or bool((places >= torch.tensor([height, width])).any()):
        raise IndexError(f"positions must lie in the {height} x {width} map, got {places.tolist()}")
    rows, columns = places.to(feature_map.device).unbind(dim=1)
    return torch.arange(len(feature_map), device=feature_map.device), slice(None), rows, columns


def _logits_through(network: Network, images: Tensor, layer: str, replace: Replace) -> Tensor:
    """The logits of a whole forward in which the layer's output (of its last run) is replaced."""
    runs_left = network.runs[layer].times

    def hook(_: nn.Module, __: Any, output: Tensor) -> Tensor | None:
        nonlocal runs_left
        runs_left -= 1
        return replace(output) if runs_left == 0 else None

    with hooked(network.module, {layer: hook}):
        return network.logits(images)
