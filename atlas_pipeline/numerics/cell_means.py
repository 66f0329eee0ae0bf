"""Mean of a value over the members of each cell; members may lack the value."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cell_means(cell: ArrayLike, values: ArrayLike, num_cells: int) -> NDArray[np.float64]:
    """Mean of the finite values in each cell; for zeros and ones it is the share of ones.

    Args:    cell: (member,) cell numbers below ``num_cells``, or -1 for no cell. values: (member,).
    Returns: (cell,) float64; NaN in cells without a finite value.
    """
    at, numbers = np.asarray(cell, dtype=np.int64), np.asarray(values, dtype=np.float64)
    known = (at >= 0) & np.isfinite(numbers)
    count = np.bincount(at[known], minlength=num_cells)
    total = np.bincount(at[known], weights=numbers[known], minlength=num_cells)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
