"""A layout clipped at its outliers and scaled to the unit square."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def normalise_layout(
    xy: ArrayLike, low: float = 1.0, high: float = 99.0, margin: float = 0.1
) -> NDArray[np.float32]:
    """Clip each axis at its percentiles, widened by a relative margin, and stretch it over [0, 1].

    Bounds are ``percentile(low) - margin * spread`` and ``percentile(high) + margin * spread`` with
    ``spread = percentile(high) - percentile(low)``; what a layout without outliers leaves free of the
    margin is not kept, so that the smallest value always becomes 0 and the largest 1. (Lucid's notebook
    moves the lower bound first and takes the wider spread for the upper: its margins differ.)

    Args:    xy: (activation, axis), finite. low, high: percentiles. margin: share of the spread.
    Returns: (activation, axis) in [0, 1]; an axis that is constant after clipping is 0.5.
    Raises:  ValueError: NaN or infinite values, with the first row that has one.
    """
    layout = np.asarray(xy, dtype=np.float64)
    finite = np.isfinite(layout).all(axis=1)
    if not finite.all():
        raise ValueError(f"the layout has NaN or infinite coordinates, first in row {int(np.argmin(finite))}")
    if len(layout) == 0:
        return layout.astype(np.float32)
    lower, upper = np.percentile(layout, [low, high], axis=0)
    widening = margin * (upper - lower)
    clipped = np.clip(layout, lower - widening, upper + widening)
    start = clipped.min(axis=0)
    spread = clipped.max(axis=0) - start
    scaled = (clipped - start) / np.where(spread > 0, spread, 1.0)
    return np.where(spread > 0, scaled, 0.5).astype(np.float32)


def normalise_together(layouts: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
    """The same with one box for several layouts, so that what is at one place in two of them stays so.

    Args:    layouts: each (activation, axis), finite.
    Returns: each (activation, axis) in [0, 1]; together they fill it.
    Raises:  ValueError: as ``normalise_layout``, counting rows over all of them.
    """
    ends = np.cumsum([len(layout) for layout in layouts])
    return np.split(normalise_layout(np.concatenate(layouts)), ends[:-1])
