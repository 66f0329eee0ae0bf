"""Cells of a grid over the unit square: the one home of orientation.

A layout's x points right and its y points up, as in a plot. A grid's rows count from the top and its
columns from the left, as in a picture: row 0 holds the largest y. Nothing else in the package flips an axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cell_of(xy: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """The cell of each point. Cells are half-open; a point on the outer border belongs to the last cell.

    A cell holds its left and its lower edge, so every point is in exactly one.

    Args:    xy: (activation, 2), x to the right and y up, in [0, 1]. grid_size: cells a side.
    Returns: (activation, 2) row, col; row 0 on top.
    Raises:  ValueError: a coordinate outside [0, 1], or NaN.
    """
    # float64: a float32 product may round a point across a cell's edge.
    points = np.asarray(xy, dtype=np.float64)
    inside = (points >= 0).all(axis=1) & (points <= 1).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        raise ValueError(
            f"point {row} at {points[row].tolist()} lies outside the unit square; normalise the layout"
        )
    steps = np.minimum(np.floor(points * grid_size).astype(np.int64), grid_size - 1)
    return np.stack([grid_size - 1 - steps[:, 1], steps[:, 0]], axis=1)


def cell_centre(cells: ArrayLike, grid_size: int) -> NDArray[np.float64]:
    """(cell, 2) row, col -> (cell, 2) x, y of the centres in the unit square."""
    row_col = np.asarray(cells, dtype=np.float64)
    return np.stack([row_col[:, 1] + 0.5, grid_size - row_col[:, 0] - 0.5], axis=1) / grid_size


def flat_cell(cells: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """(cell, 2) row, col -> (cell,) numbers in reading order: 0 is the top left, 1 its right neighbour."""
    row_col = np.asarray(cells, dtype=np.int64)
    return row_col[:, 0] * grid_size + row_col[:, 1]


def unflat_cell(flat: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """(cell,) numbers in reading order -> (cell, 2) row, col."""
    return np.stack(np.divmod(np.asarray(flat, dtype=np.int64), grid_size), axis=1)


def counts_of(xy: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """Points in every cell: (grid_size, grid_size), row 0 on top; they add up to the points."""
    flat = flat_cell(cell_of(xy, grid_size), grid_size)
    return np.bincount(flat, minlength=grid_size**2).reshape(grid_size, grid_size)


def largest_grid_with(xy: NDArray[np.floating], min_count: int, up_to: int) -> int:
    """A grid size with at least one cell of ``min_count`` activations, for the advice when a grid has none.

    Tries ``up_to`` and smaller sizes in steps of 5 %, or of 1: near the largest such size, not always it.

    Args:    xy: (activation, 2) in the unit square. up_to: the largest size to try.
    Returns: cells a side; 0 where even a single cell holds too few.
    """
    size = up_to
    while size > 0 and (len(xy) < min_count or counts_of(xy, size).max() < min_count):
        size = min(size - 1, int(size * 0.95))
    return size
