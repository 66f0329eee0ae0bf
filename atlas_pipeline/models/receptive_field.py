"""Which pixels a layer's centre position can see, measured: B = batch, C = channels, S = side in pixels.

Not-a-number spreads: whatever is computed from it is not a number either. So an image whose pixels beyond a
line are NaN leaves the centre position of a layer a number exactly when that position sees nothing beyond
the line, and a bisection over such images finds the border to the pixel. This holds for every network,
whatever its code does between modules, and whatever its weights and ReLUs happen to switch off; global
operations (squeeze-and-excitation, attention, pooling to 1 x 1) show as the whole image. Convolutions,
linear maps and attention are replaced by what they do to NaN (see ``spread``): that is far cheaper, and fast
algorithms (Winograd, FFT) would smear NaN beyond the kernel. Nothing can be told of layers behind an
operation that NaN would end, or that hides it (see ``nan_guard``).
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
from atlas_pipeline.models.image_size import is_out_of_memory
from atlas_pipeline.models.nan_guard import NanGuard
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.spread import spread_only

BATCH = 8
# A multiple of all usual strides: growing the image by it grows a map by a whole number of positions.
GROWTH_PX = 192


def receptive_fields(network: Network, layers: Sequence[str], size_px: int) -> dict[str, int | None]:
    """Side, in pixels, of the smallest square that holds all the centre position sees, clipped to the image.

    The centre is (height // 2, width // 2). None: it cannot be told, for the network makes NaN of its own, or
    uses an operation that NaN would end. Both axes are measured in one: a corner (rows or columns beyond the
    line) is spoilt, so the farther border of the two counts.
    """
    last = size_px - 1
    # Of both corners: how many lines from the far side can be spoilt before the centre position is.
    far = {(layer, side): [0, last] for layer in layers for side in ("high", "low")}
    clean = _spoilt_layers(network, layers, torch.zeros(1, 3, size_px, size_px))
    while queries := _queries(far):
        for start in range(0, len(queries), BATCH):
            chunk = queries[start : start + BATCH]
            images = torch.stack([_corner(size_px, *query) for query in chunk])
            for layer, spoilt in _spoilt_layers(network, layers, images).items():
                for (side, count), is_spoilt in zip(chunk, spoilt, strict=True):
                    _narrow(far[layer, side], count, is_spoilt)
    return {
        layer: None if clean[layer][0] else size_px - far[layer, "high"][0] - far[layer, "low"][0]
        for layer in layers
    }


def _queries(far: dict[tuple[str, str], list[int]]) -> list[tuple[str, int]]:
    """What to try next: the middles of all open intervals; layers share them."""
    return sorted({(side, (low + high + 1) // 2) for (_, side), (low, high) in far.items() if low < high})


def _narrow(interval: list[int], count: int, is_spoilt: bool) -> None:
    if is_spoilt:
        interval[1] = min(interval[1], count - 1)
    else:
        interval[0] = max(interval[0], count)


def _corner(size_px: int, side: str, count: int) -> Tensor:
    """(3, S, S): the last (``high``) or first (``low``) ``count`` rows and columns are NaN."""
    line = torch.zeros(size_px)
    line[size_px - count :] = torch.nan
    if side == "low":
        line = line.flip(0)
    return (line[:, None] + line[None, :]).expand(3, -1, -1)


def _spoilt_layers(network: Network, layers: Sequence[str], images: Tensor) -> dict[str, list[bool]]:
    """For every layer and image: whether the centre position is NaN in any channel."""
    spoilt: dict[str, list[bool]] = {}

    def record(layer: str, feature_map: Tensor) -> None:
        _, _, height, width = feature_map.shape
        spoilt[layer] = feature_map[:, :, height // 2, width // 2].isnan().any(dim=1).tolist()

    with _recording(network, layers, record):
        _run(network, images)
    # A layer that a NaN keeps from running is one that depends on values: nothing can be told.
    return {layer: spoilt.get(layer, [True] * len(images)) for layer in layers}


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
            # Some operation could not be reduced to where it carries NaN.
            with torch.no_grad():
                _run_plainly(network, black)
    return sizes


def strides(network: Network, layers: Sequence[str], size_px: int) -> dict[str, int]:
    """Pixels from one position to the next: how much a larger image makes the map grow.

    A map that does not grow (pooled to a fixed size) has its positions spread over the image.
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
    """Within the block ``record`` gets the feature map of every layer that ends."""

    def hook_for(layer: str) -> Hook:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            # Another image size may give tokens that make no square.
            with suppress(ModelError):
                tensor = held_tensor(output)
                if tensor is not None:
                    record(layer, network.feature_map(layer, tensor))

        return hook

    with hooked(network.module, {layer: hook_for(layer) for layer in layers}):
        yield


def _run(network: Network, images: Tensor) -> None:
    """A forward of which only hooks see anything; heads that want another image size may fail at its end."""
    with torch.no_grad(), NanGuard(), spread_only():
        _run_plainly(network, images)


def _run_plainly(network: Network, images: Tensor) -> None:
    try:
        network.module(network.normalise(images.to(network.device)))
    except Exception as error:
        # A user's code may raise anything when it meets NaN, or an image of another size.
        if is_out_of_memory(error):
            raise
