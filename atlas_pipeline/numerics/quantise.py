"""Quantises numbers to small integers, for a browser to load."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# int16 value of a missing number.
MISSING = -32768
COSINE_STEPS = 10_000


def signed_levels(values: ArrayLike) -> tuple[NDArray[np.int8], float, float]:
    """Quantise values to levels from -127 to 127; positive and negative values have separate scales.

    A class may be supported strongly by a few cells and opposed weakly by many. With one scale the weak
    values would become 0.

    Args:    values: (cell,) float; non-finite values become 0.
    Returns: levels (cell,), the value of level 127, and the magnitude of level -127 (>= 0).
    """
    finite = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0, posinf=0, neginf=0)
    most, least = max(finite.max(initial=0), 0.0), max(-finite.min(initial=0), 0.0)
    scale = np.where(finite > 0, most or 1.0, least or 1.0)
    return np.rint(127 * finite / scale).astype(np.int8), float(most), float(least)


def cosines(values: ArrayLike) -> NDArray[np.int16]:
    """Quantise numbers in [-1, 1] in steps of 1e-4; ``MISSING`` where not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    steps = np.rint(np.clip(np.nan_to_num(numbers), -1, 1) * COSINE_STEPS)
    return np.where(np.isfinite(numbers), steps, MISSING).astype(np.int16)


def wide_levels(values: ArrayLike) -> tuple[NDArray[np.int16], float]:
    """Quantise values to levels -32767 to 32767 (``MISSING`` if not finite); also the value of one level."""
    numbers = np.asarray(values, dtype=np.float64)
    known = np.isfinite(numbers)
    step = float(np.abs(numbers[known]).max(initial=0)) / 32767 or 1.0
    levels = np.rint(np.where(known, numbers, 0) / step)
    return np.where(known, levels, MISSING).astype(np.int16), step
