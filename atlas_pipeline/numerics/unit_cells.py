"""The cells of an atlas where a unit is strongest, and the units that are strongest in a cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def strongest_cells(means: NDArray[np.floating], num: int) -> NDArray[np.int64]:
    """The cells with the largest means of each unit, from the largest; of equal ones the first.

    Args:    means: (cell, unit), mean activations.
    Returns: (unit, min(num, cell)) int64.
    """
    return np.argsort(-means, axis=0, kind="stable")[:num].T


def strongest_units(
    means: NDArray[np.floating], mean: NDArray[np.floating], sd: NDArray[np.floating], num: int
) -> NDArray[np.int64]:
    """The units that are farthest above their mean over all cells' activations, in each cell.

    Args:    means: (cell, unit). mean, sd: (unit,) over the cells, by count; units with an sd of 0 come last.
    Returns: (cell, min(num, unit)) int64, from the strongest; of equal ones the first.
    """
    above = np.where(sd > 0, (means - mean) / np.where(sd > 0, sd, 1), -np.inf)
    return np.argsort(-above, axis=1, kind="stable")[:, :num]


def spread_of_cells(
    means: NDArray[np.floating], counts: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each unit over the cells, weighted by count: (unit,), (unit,)."""
    weights = counts / max(1, counts.sum())
    mean = weights @ means.astype(np.float64)
    return mean, np.sqrt(np.maximum(weights @ means.astype(np.float64) ** 2 - mean**2, 0))
