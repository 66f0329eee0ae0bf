"""Visible window: the part of the image and of each intermediate map that determines the last map's centre.

Only that part is computed. It is found by trial, which works for any network: a map is trimmed only if the
trimmed map gives the same centre activation. A network that exposes its parts (``parts(size_px)``) is also
trimmed between them; any other network only at the image. S = image side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import random_streams
from atlas_pipeline.inversion.objective import centre_position
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.nan_guard import NanGuard
from atlas_pipeline.models.out_of_memory import is_out_of_memory

FeatureMap = Callable[[Tensor], Tensor]

PROBE_STREAM = 3
# Share of the largest activation: other input shapes use other kernels, which round differently.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class VisibleWindow:
    """Rows and columns [low, high) of the image that are computed, and how to reach the centre from there."""

    low: int
    high: int
    row: int
    """Row of the centre in the last map as computed from the window; `col` is its column."""
    col: int
    map_side: int
    """Positions along the shorter side of the last map of the whole image."""
    trims: tuple[tuple[int, int], ...] = ()
    """Rows and columns [low, high) of its input map that each part after the first uses."""

    def activation(self, parts: Sequence[FeatureMap], images: Tensor) -> Tensor:
        """Centre activation (B, channel), given the part [low, high) of the images."""
        feature_map = parts[0](images)
        for part, (low, high) in zip(parts[1:], self.trims, strict=True):
            feature_map = part(feature_map[:, :, low:high, low:high])
        return feature_map[:, :, self.row, self.col]


def parts_of(feature_map: FeatureMap, size_px: int) -> Sequence[FeatureMap]:
    """Functions whose composition is the feature map; each passes one map to the next."""
    known = getattr(feature_map, "parts", None)
    return [feature_map] if known is None else known(size_px)


_WINDOW_CACHE: WeakKeyDictionary[FeatureMap, dict[tuple[int, torch.device], VisibleWindow]] = (
    WeakKeyDictionary()
)


def visible_window(feature_map: FeatureMap, size_px: int, device: torch.device) -> VisibleWindow:
    """The smallest part of a square image, and of the maps between parts, that determines the centre.

    Args:    feature_map: images (B, 3, S, S) in [0, 1] -> (B, channel, height, width).
    Raises:  ModelError: the network rejects images of this size, or does not return a map.
    """
    try:
        known = _WINDOW_CACHE.setdefault(feature_map, {})
    except TypeError:
        # A callable that cannot be a weak dictionary key is analysed again on each call.
        known = {}
    if (size_px, device) not in known:
        known[size_px, device] = _find_window(feature_map, size_px, device)
    return known[size_px, device]


def _find_window(feature_map: FeatureMap, size_px: int, device: torch.device) -> VisibleWindow:
    num = 3 * size_px * size_px
    noise = random_streams.uniform([0], PROBE_STREAM, num).float().view(1, 3, size_px, size_px).to(device)
    with ieee(), torch.no_grad():
        height, width = _checked_map(feature_map, noise).shape[-2:]
        row, col = centre_position(height, width)
        if height != width:
            return VisibleWindow(0, size_px, row, col, min(height, width), _untrimmed(feature_map, noise))
        maps = [noise]
        parts = parts_of(feature_map, size_px)
        for part in parts:
            maps.append(part(maps[-1]))
        # Walk from the centre back to the image: the input that a part needs is the output of the one before.
        low, high = row, row + 1
        needs: list[tuple[int, int, int]] = []
        for part, before, after in reversed(list(zip(parts, maps[:-1], maps[1:], strict=True))):
            low, high, offset = _required_input(part, before, after, low, high)
            needs.insert(0, (low, high, offset))
    # The output of a trimmed part begins `offset` positions later than that of the whole part.
    trims = [(low - before[2], high - before[2]) for before, (low, high, _) in pairwise(needs)]
    low, high, _ = needs[0]
    place = row - needs[-1][2]
    return VisibleWindow(low, high, place, place, height, tuple(trims))


def _untrimmed(feature_map: FeatureMap, noise: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((0, noise.shape[-1]) for _ in parts_of(feature_map, noise.shape[-1])[1:])


def _required_input(
    part: FeatureMap, before: Tensor, after: Tensor, low: int, high: int
) -> tuple[int, int, int]:
    """The input that positions [low, high) of a part's output depend on.

    Args:    before, after: the part's whole input and output, (1, channel, side, side).
    Returns: rows and columns [first, last) of the input, and the offset of the trimmed output in positions.
    """
    side, num = before.shape[-1], after.shape[-1]
    if side % num or after.ndim != 4:
        return 0, side, 0
    stride = side // num
    wanted = after[..., low:high, low:high]

    def output_unchanged(head: int, tail: int) -> bool:
        """Whether the output stays the same after trimming ``head`` and ``tail`` positions."""
        window = slice(stride * head, side - stride * tail)
        # NaN spreads to every output that depends on it, even through ReLUs that are 0.
        nan_bordered = torch.full_like(before, torch.nan)
        nan_bordered[..., window, window] = before[..., window, window]
        try:
            with NanGuard():
                if not torch.isfinite(part(nan_bordered)[..., low:high, low:high]).all():
                    return False
            trimmed = part(before[..., window, window])
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # A user's network may raise any exception on NaN or on a map of another size.
            return False
        if trimmed.shape[-1] != num - head - tail:
            return False
        same = trimmed[..., low - head : high - head, low - head : high - head]
        return bool((same - wanted).abs().max() <= _TOLERANCE * wanted.abs().max())

    head = _largest_count(low, lambda count: output_unchanged(count, 0))
    tail = _largest_count(num - high, lambda count: output_unchanged(head, count))
    return stride * head, side - stride * tail, head


def _largest_count(most: int, holds: Callable[[int], bool]) -> int:
    """The largest count up to ``most`` that holds, if every smaller count holds too (binary search)."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _checked_map(feature_map: FeatureMap, images: Tensor) -> Tensor:
    size = images.shape[-1]
    try:
        activations = feature_map(images)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the network takes no images of {size} px ({reason}); set another invert.size_px"
        ) from error
    if activations.ndim != 4 or 0 in activations.shape:
        raise ModelError(
            f"the network gives shape {tuple(activations.shape)} for images of {size} px, not "
            "(image, channel, height, width); cut it at a layer with a map, or set a larger invert.size_px"
        )
    return activations
