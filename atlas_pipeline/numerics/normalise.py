"""Clips a layout at its outliers and scales it to the unit square."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def normalise_layout(
    xy: ArrayLike, low: float = 1.0, high: float = 99.0, margin: float = 0.1
) -> NDArray[np.float32]:
    """Clip each axis at its percentiles, widened by a relative margin, and scale it to [0, 1].

    The bounds are ``percentile(low) - margin * spread`` and ``percentile(high) + margin * spread`` with
    ``spread = percentile(high) - percentile(low)``. The clipped values are scaled so that the smallest is 0
    and the largest is 1, even if no value reaches a bound. (Lucid's notebook moves the lower bound first and
    uses the wider spread for the upper bound, so its margins differ.)

    Args:    xy: (activation, axis), finite. low, high: percentiles. margin: share of the spread.
    Returns: (activation, axis) float32 in [0, 1]; an axis that is constant after clipping is 0.5.
    Raises:  ValueError: values are NaN or infinite; the message names the first such row.
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
    """Normalise several layouts with one common box, so that equal positions stay equal.

    Args:    layouts: each (activation, axis), finite.
    Returns: each (activation, axis) float32 in [0, 1]; together they fill the box.
    Raises:  ValueError: as ``normalise_layout``, with rows counted over all layouts.
    """
    ends = np.cumsum([len(layout) for layout in layouts])
    return np.split(normalise_layout(np.concatenate(layouts)), ends[:-1])
