"""State of the units of a layer over a set of images: histograms, examples, counts. States can be merged.

Its size does not depend on the number of images. Merging is associative and commutative: counts are added,
and examples are ordered by keys that belong to the image and the unit alone. Only the sums of floating-point
numbers depend on the order of merging, by their rounding.

U = unit, H = bin of the histogram, T = top example, R = range, M = example of a range.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

# The histogram's inner bins, in standard deviations from the mean; a bin beyond either end holds the rest.
HISTOGRAM_LOW, HISTOGRAM_STEP, HISTOGRAM_BINS = -8.0, 0.25, 160
NO_IMAGE = -1
_NO_KEY = np.iinfo(np.uint64).max


@dataclass(frozen=True, slots=True, eq=False)
class UnitState:
    """The state of U units. An image that is missing among the examples is `NO_IMAGE`.

    A place is row * width + column of the layer's map.
    """

    num_images: NDArray[np.int64]
    """(U,): images seen."""
    num_firing: NDArray[np.int64]
    """(U,): images with a value above 0 anywhere."""
    counts: NDArray[np.int64]
    """(U, H): positions by value."""
    sums: NDArray[np.float64]
    """(U, H): sum of the values above 0 in each bin."""
    num_positive: NDArray[np.int64]
    """(U,): positions with a value above 0."""
    total: NDArray[np.float64]
    """(U,): sum of the values over all positions."""
    squares: NDArray[np.float64]
    """(U,): sum of their squares."""
    least: NDArray[np.float32]
    """(U,): smallest value."""
    top_image: NDArray[np.int64]
    """(U, T): images with the largest maxima over their positions, from the largest; ties by image id."""
    top_value: NDArray[np.float32]
    top_place: NDArray[np.int32]
    """(U, T): place of the maximum; of equal ones the first."""
    range_key: NDArray[np.uint64]
    """(U, R, M): pseudo-random keys; the images with the smallest ones are kept."""
    range_image: NDArray[np.int64]
    range_value: NDArray[np.float32]
    range_place: NDArray[np.int32]

    def merged(self, other: UnitState) -> UnitState:
        """The state over the images of both; no image may be in both."""
        top = _top(self, other)
        ranges = _ranges(self, other)
        return UnitState(
            **{name: getattr(self, name) + getattr(other, name) for name in SUMMED},
            least=np.minimum(self.least, other.least),
            **top,
            **ranges,
        )


SUMMED = ("num_images", "num_firing", "counts", "sums", "num_positive", "total", "squares")
FIELDS = tuple(field.name for field in fields(UnitState))


def empty_state(num_units: int, num_top: int, num_ranges: int, per_range: int) -> UnitState:
    """The state of units that have seen no image."""
    top, of_range = (num_units, num_top), (num_units, num_ranges, per_range)
    return UnitState(
        num_images=np.zeros(num_units, np.int64),
        num_firing=np.zeros(num_units, np.int64),
        counts=np.zeros((num_units, HISTOGRAM_BINS + 2), np.int64),
        sums=np.zeros((num_units, HISTOGRAM_BINS + 2), np.float64),
        num_positive=np.zeros(num_units, np.int64),
        total=np.zeros(num_units, np.float64),
        squares=np.zeros(num_units, np.float64),
        least=np.full(num_units, np.inf, np.float32),
        top_image=np.full(top, NO_IMAGE, np.int64),
        top_value=np.full(top, -np.inf, np.float32),
        top_place=np.zeros(top, np.int32),
        range_key=np.full(of_range, _NO_KEY, np.uint64),
        range_image=np.full(of_range, NO_IMAGE, np.int64),
        range_value=np.zeros(of_range, np.float32),
        range_place=np.zeros(of_range, np.int32),
    )


def state_bytes(num_top: int, num_ranges: int, per_range: int) -> int:
    """Bytes of the state of one unit.

    >>> state_bytes(9, 7, 6)
    3788
    """
    state = empty_state(1, num_top, num_ranges, per_range)
    return sum(getattr(state, name).nbytes for name in FIELDS)


def merge(states: Iterable[UnitState]) -> UnitState:
    """The state over the images of all states; two states are in memory at once.

    Raises: TypeError: no states.
    """
    return reduce(UnitState.merged, states)


def _top(one: UnitState, other: UnitState) -> dict[str, NDArray]:
    names = ("top_image", "top_value", "top_place")
    joined = {name: np.concatenate([getattr(one, name), getattr(other, name)], axis=1) for name in names}
    # A missing image sorts last: its value is the least.
    order = np.lexsort((joined["top_image"], -joined["top_value"]), axis=1)[:, : one.top_image.shape[1]]
    return {name: np.take_along_axis(values, order, axis=1) for name, values in joined.items()}


def _ranges(one: UnitState, other: UnitState) -> dict[str, NDArray]:
    names = ("range_key", "range_image", "range_value", "range_place")
    joined = {name: np.concatenate([getattr(one, name), getattr(other, name)], axis=2) for name in names}
    num, keys = one.range_key.shape[2], joined["range_key"]
    if 0 < num < keys.shape[2]:
        # Two keys of 64 bits are hardly ever equal, so the smallest are taken before they are sorted.
        smallest = np.argpartition(keys, num - 1, axis=2)[..., :num]
        joined = {name: np.take_along_axis(values, smallest, axis=2) for name, values in joined.items()}
    order = np.lexsort((joined["range_image"], joined["range_key"]), axis=2)[..., :num]
    return {name: np.take_along_axis(values, order, axis=2) for name, values in joined.items()}


def range_of_bins(ranges: ArrayLike) -> NDArray[np.int64]:
    """The range that each bin of the histogram lies in; borders are rounded to those of bins.

    Args:    ranges: (R - 1,), rising borders in standard deviations.
    Returns: (H,) int64.
    """
    first = HISTOGRAM_LOW + HISTOGRAM_STEP * np.arange(HISTOGRAM_BINS + 1)
    middles = np.concatenate([[-np.inf], first[:-1] + HISTOGRAM_STEP / 2, [np.inf]])
    return np.searchsorted(np.asarray(ranges, np.float64), middles, side="right")


def shares_of_ranges(sums: NDArray[np.float64], ranges: ArrayLike) -> NDArray[np.float64]:
    """The share of a unit's expected activation that comes from each range of its values.

    Args:    sums: (U, H), see `UnitState`. ranges: (R - 1,).
    Returns: (U, R), rows add up to 1; 0 for a unit without values above 0.
    """
    which, num_ranges = range_of_bins(ranges), len(np.atleast_1d(ranges)) + 1
    by_range = np.stack([sums[:, which == number].sum(axis=1) for number in range(num_ranges)], axis=1)
    whole = by_range.sum(axis=1, keepdims=True)
    return np.divide(by_range, whole, out=np.zeros_like(by_range), where=whole > 0)
