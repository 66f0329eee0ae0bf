"""The visible window: what of the image, and of every map on the way, the centre of the last map hangs on.

Only that much is computed. It is found by trial, for any network: a map is trimmed only where the trimmed one
gives the same centre. A network that says of which parts it is made (``parts(size_px)``) is trimmed between
them too; any other at the image alone. S = image side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import draws
from atlas_pipeline.inversion.objective import centre_position
from atlas_pipeline.models.nan_guard import NanGuard

FeatureMap = Callable[[Tensor], Tensor]

PROBE_STREAM = 3
# Of the largest activation: other shapes take other kernels, which round otherwise.
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class VisibleWindow:
    """Rows and columns [low, high) of the image that are computed, and the way from there to the centre."""

    low: int
    high: int
    row: int
    """Of the centre, in the last map as it is computed."""
    col: int
    map_side: int
    """Positions along the shorter side of the whole image's last map."""
    trims: tuple[tuple[int, int], ...] = ()
    """Rows and columns [low, high) that each part after the first takes of the map it is given."""

    def activation(self, parts: Sequence[FeatureMap], images: Tensor) -> Tensor:
        """The centre's activation (B, channel) of the part [low, high) of images."""
        feature_map = parts[0](images)
        for part, (low, high) in zip(parts[1:], self.trims, strict=True):
            feature_map = part(feature_map[:, :, low:high, low:high])
        return feature_map[:, :, self.row, self.col]


def parts_of(feature_map: FeatureMap, size_px: int) -> Sequence[FeatureMap]:
    """What does the same one after the other, with one map passing from each to the next."""
    known = getattr(feature_map, "parts", None)
    return [feature_map] if known is None else known(size_px)


_KNOWN: WeakKeyDictionary[FeatureMap, dict[tuple[int, torch.device], VisibleWindow]] = WeakKeyDictionary()


def visible_window(feature_map: FeatureMap, size_px: int, device: torch.device) -> VisibleWindow:
    """The smallest part of a square image, and of the maps between the network's parts, that will do.

    Args:    feature_map: images (B, 3, S, S) in [0, 1] -> (B, channel, height, width).
    Raises:  ModelError: the network takes no image of this size, or gives no map of it.
    """
    try:
        known = _KNOWN.setdefault(feature_map, {})
    except TypeError:
        # A callable that cannot be a key is looked at anew each time.
        known = {}
    if (size_px, device) not in known:
        known[size_px, device] = _found(feature_map, size_px, device)
    return known[size_px, device]


def _found(feature_map: FeatureMap, size_px: int, device: torch.device) -> VisibleWindow:
    num = 3 * size_px * size_px
    noise = draws.uniform([0], PROBE_STREAM, num).float().view(1, 3, size_px, size_px).to(device)
    with torch.no_grad():
        height, width = _checked_map(feature_map, noise).shape[-2:]
        row, col = centre_position(height, width)
        if height != width:
            return VisibleWindow(0, size_px, row, col, min(height, width), _untrimmed(feature_map, noise))
        maps = [noise]
        parts = parts_of(feature_map, size_px)
        for part in parts:
            maps.append(part(maps[-1]))
        # From the centre back to the image: what each part needs is what the one before it must give.
        low, high = row, row + 1
        needs: list[tuple[int, int, int]] = []
        for part, before, after in reversed(list(zip(parts, maps[:-1], maps[1:], strict=True))):
            low, high, offset = _needed(part, before, after, low, high)
            needs.insert(0, (low, high, offset))
    # A trimmed part's output begins `offset` positions later than the whole one's.
    trims = [(low - before[2], high - before[2]) for before, (low, high, _) in pairwise(needs)]
    low, high, _ = needs[0]
    place = row - needs[-1][2]
    return VisibleWindow(low, high, place, place, height, tuple(trims))


def _untrimmed(feature_map: FeatureMap, noise: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((0, noise.shape[-1]) for _ in parts_of(feature_map, noise.shape[-1])[1:])


def _needed(part: FeatureMap, before: Tensor, after: Tensor, low: int, high: int) -> tuple[int, int, int]:
    """What positions [low, high) of a part's output hang on.

    Args:    before, after: the part's whole input and output, (1, channel, side, side).
    Returns: rows and columns [first, last) of the input, and by how many positions the output is shifted.
    """
    side, num = before.shape[-1], after.shape[-1]
    if side % num or after.ndim != 4:
        return 0, side, 0
    stride = side // num
    wanted = after[..., low:high, low:high]

    def repeats(head: int, tail: int) -> bool:
        """Whether the input without that many positions at its start and its end gives the same."""
        window = slice(stride * head, side - stride * tail)
        # What is not a number spreads to all that depends on it, dead ReLUs or not.
        spoilt = torch.full_like(before, torch.nan)
        spoilt[..., window, window] = before[..., window, window]
        try:
            with NanGuard():
                if not torch.isfinite(part(spoilt)[..., low:high, low:high]).all():
                    return False
            trimmed = part(before[..., window, window])
        except torch.OutOfMemoryError:
            raise
        except Exception:
            # A user's code may raise anything when it meets NaN, or a map of another size.
            return False
        if trimmed.shape[-1] != num - head - tail:
            return False
        same = trimmed[..., low - head : high - head, low - head : high - head]
        return bool((same - wanted).abs().max() <= _TOLERANCE * wanted.abs().max())

    head = _furthest(low, lambda count: repeats(count, 0))
    tail = _furthest(num - high, lambda count: repeats(head, count))
    return stride * head, side - stride * tail, head


def _furthest(most: int, holds: Callable[[int], bool]) -> int:
    """The largest count up to ``most`` that holds, given that all below a holding one do."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _checked_map(feature_map: FeatureMap, images: Tensor) -> Tensor:
    size = images.shape[-1]
    try:
        activations = feature_map(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
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
