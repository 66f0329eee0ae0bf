"""Which pixels a layer's centre position can see, measured. B = batch, C = channels, S = side in pixels.

NaN spreads: every value computed from NaN is NaN. If the pixels beyond a line are NaN, the centre position of
a layer stays a number exactly when it sees nothing beyond the line, and a bisection over such images finds
the border to the pixel. This works for every network, whatever its code does between modules and whatever its
weights and ReLUs switch off. Global operations (squeeze-and-excitation, attention, pooling to 1 x 1) appear
as the whole image. Convolutions, linear maps and attention are replaced by their effect on NaN (see
``spread``): that is far cheaper, and fast algorithms (Winograd, FFT) would smear NaN beyond the kernel.
Layers after an operation that crashes on NaN or hides it cannot be measured (see ``nan_guard``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.execution import Hook, hooked
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.nan_guard import NanGuard
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.spread import spread_only

BATCH = 8
# A multiple of all common strides: an image larger by this much has a map larger by a whole number of
# positions.
GROWTH_PX = 192


def receptive_fields(network: Network, layers: Sequence[str], size_px: int) -> dict[str, int | None]:
    """Side, in pixels, of the smallest square with everything that the centre position sees.

    The centre position is (height // 2, width // 2), and the square is clipped to the image. None: the side
    cannot be measured, since the network makes NaN itself or uses an operation that crashes on NaN. Both axes
    are measured together: a corner is NaN (rows or columns beyond the line), so the farther border of the two
    counts.
    """
    last = size_px - 1
    # For each corner, an interval of the number of lines that can be NaN before the centre position is.
    intervals = {(layer, side): [0, last] for layer in layers for side in ("high", "low")}
    without_nan = _nan_at_centre(network, layers, torch.zeros(1, 3, size_px, size_px))
    while queries := _queries(intervals):
        for start in range(0, len(queries), BATCH):
            chunk = queries[start : start + BATCH]
            images = torch.stack([_corner(size_px, *query) for query in chunk])
            for layer, nan_by_layer in _nan_at_centre(network, layers, images).items():
                for (side, count), is_nan in zip(chunk, nan_by_layer, strict=True):
                    _narrow(intervals[layer, side], count, is_nan)
    return {
        layer: None
        if without_nan[layer][0]
        else size_px - intervals[layer, "high"][0] - intervals[layer, "low"][0]
        for layer in layers
    }


def _queries(intervals: dict[tuple[str, str], list[int]]) -> list[tuple[str, int]]:
    """The next queries: the midpoints of all open intervals; layers share them."""
    return sorted(
        {(side, (low + high + 1) // 2) for (_, side), (low, high) in intervals.items() if low < high}
    )


def _narrow(interval: list[int], count: int, is_nan: bool) -> None:
    if is_nan:
        interval[1] = min(interval[1], count - 1)
    else:
        interval[0] = max(interval[0], count)


def _corner(size_px: int, side: str, count: int) -> Tensor:
    """(3, S, S): zeros, with the last (``high``) or first (``low``) ``count`` rows and columns NaN."""
    line = torch.zeros(size_px)
    line[size_px - count :] = torch.nan
    if side == "low":
        line = line.flip(0)
    return (line[:, None] + line[None, :]).expand(3, -1, -1)


def _nan_at_centre(network: Network, layers: Sequence[str], images: Tensor) -> dict[str, list[bool]]:
    """Whether the centre position is NaN in any channel, by layer and image."""
    nan_by_layer: dict[str, list[bool]] = {}

    def record(layer: str, feature_map: Tensor) -> None:
        _, _, height, width = feature_map.shape
        nan_by_layer[layer] = feature_map[:, :, height // 2, width // 2].isnan().any(dim=1).tolist()

    with _recording(network, layers, record):
        _run(network, images)
    # If NaN keeps a layer from running, the network branches on values, and nothing can be measured.
    return {layer: nan_by_layer.get(layer, [True] * len(images)) for layer in layers}


def map_sizes(network: Network, size_px: int) -> dict[str, tuple[int, int, int]]:
    """Layer -> (channels, height, width) for a square image of another size than the network's own."""
    sizes: dict[str, tuple[int, int, int]] = {}

    def record(layer: str, feature_map: Tensor) -> None:
        _, channels, height, width = feature_map.shape
        sizes[layer] = (channels, height, width)

    layers = [name for name, run in network.runs.items() if run.is_map]
    black = torch.zeros(1, 3, size_px, size_px)
    with _recording(network, layers, record):
        _run(network, black)
        if len(sizes) < len(layers):
            # Some operation could not be reduced to its effect on NaN.
            with torch.no_grad():
                _run_plainly(network, black)
    return sizes


def strides(network: Network, layers: Sequence[str], size_px: int) -> dict[str, int]:
    """Pixels from one position to the next, by how much the map grows with a larger image.

    A map that does not grow (pooled to a fixed size) has its positions spread evenly over the image.
    """
    small, large = map_sizes(network, size_px), map_sizes(network, size_px + GROWTH_PX)
    steps = {}
    for layer in layers:
        height = small[layer][1]
        grown = large.get(layer, small[layer])[1] - height
        steps[layer] = round(GROWTH_PX / grown) if grown > 0 else round(size_px / height)
    return steps


@contextmanager
def _recording(
    network: Network, layers: Sequence[str], record: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Call ``record`` inside the block with the feature map of every layer that finishes."""

    def hook_for(layer: str) -> Hook:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            # Another image size may give tokens that form no square.
            with suppress(ModelError):
                tensor = held_tensor(output)
                if tensor is not None:
                    record(layer, network.feature_map(layer, tensor))

        return hook

    with hooked(network.module, {layer: hook_for(layer) for layer in layers}):
        yield


def _run(network: Network, images: Tensor) -> None:
    """Run a forward pass for its hooks; heads that expect another image size may fail at its end."""
    with torch.no_grad(), NanGuard(), spread_only():
        _run_plainly(network, images)


def _run_plainly(network: Network, images: Tensor) -> None:
    try:
        network.module(network.normalise(images.to(network.device)))
    except Exception as error:
        # User code may raise anything for NaN or for another image size.
        if is_out_of_memory(error):
            raise
