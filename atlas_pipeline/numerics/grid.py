"""Cells of a grid over the unit square; the only module that defines orientation.

The x axis of a layout points right and its y axis points up, as in a plot. The rows of a grid count from the
top and its columns from the left, as in an image: row 0 holds the largest y. No other module flips axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cell_of(xy: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """The cell of each point. Cells are half-open; a point on the outer border belongs to the last cell.

    A cell contains its left and lower edges, so every point is in exactly one cell.

    Args:    xy: (activation, 2), x to the right and y up, in [0, 1]. grid_size: cells per side.
    Returns: (activation, 2) int64 row, col; row 0 is the top.
    Raises:  ValueError: a coordinate is NaN or outside [0, 1].

    >>> cell_of([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], grid_size=2).tolist()
    [[0, 0], [1, 1], [0, 1]]
    """
    # float64: a float32 product may move a point across the edge of a cell.
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
    """Centres of cells: (cell, 2) row, col -> (cell, 2) x, y in the unit square.

    >>> cell_centre([[0, 0], [1, 0]], grid_size=2).tolist()
    [[0.25, 0.75], [0.25, 0.25]]
    """
    row_col = np.asarray(cells, dtype=np.float64)
    return np.stack([row_col[:, 1] + 0.5, grid_size - row_col[:, 0] - 0.5], axis=1) / grid_size


def flat_cell(cells: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """Numbers of cells in reading order, 0 at the top left: (cell, 2) row, col -> (cell,).

    >>> flat_cell([[0, 1], [1, 0]], grid_size=2).tolist()
    [1, 2]
    """
    row_col = np.asarray(cells, dtype=np.int64)
    return row_col[:, 0] * grid_size + row_col[:, 1]


def unflat_cell(flat: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """Inverse of ``flat_cell``: (cell,) numbers in reading order -> (cell, 2) row, col.

    >>> unflat_cell([1, 2], grid_size=2).tolist()
    [[0, 1], [1, 0]]
    """
    return np.stack(np.divmod(np.asarray(flat, dtype=np.int64), grid_size), axis=1)


def counts_of(xy: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """Number of points in every cell: (grid_size, grid_size), row 0 is the top; sums to the number of points.

    >>> counts_of([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]], grid_size=2).tolist()
    [[2, 0], [0, 1]]
    """
    flat = flat_cell(cell_of(xy, grid_size), grid_size)
    return np.bincount(flat, minlength=grid_size**2).reshape(grid_size, grid_size)


# Layouts fill about half of the unit square.
_SHARE_FILLED = 0.5


def fitting_grid(num_activations: int, min_count: int) -> int:
    """The grid size whose filled cells have about twice ``min_count`` activations: most of them get an icon.

    >>> fitting_grid(300, min_count=4), fitting_grid(20_000, min_count=10)
    (8, 44)
    """
    return max(1, int((num_activations / min_count) ** 0.5))


def is_too_fine(num_activations: int, grid_size: int, min_count: int) -> bool:
    """Whether few cells or none can be expected to have ``min_count`` activations.

    The mean count of the filled cells is then below a quarter of it.

    >>> is_too_fine(300, grid_size=20, min_count=10), is_too_fine(20_000, grid_size=40, min_count=10)
    (True, False)
    """
    return num_activations / (_SHARE_FILLED * grid_size**2) < min_count / 4


def largest_grid_with(xy: NDArray[np.floating], min_count: int, up_to: int) -> int:
    """A grid size with at least one cell of ``min_count`` activations, to suggest when a grid has none.

    Starts at ``up_to`` and decreases in steps of 5 % or of 1. The result is near the largest such size, but
    not always equal to it.

    Args:    xy: (activation, 2) in the unit square. up_to: the largest size to try.
    Returns: cells per side; 0 if even a grid of one cell has too few activations.

    >>> largest_grid_with(np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]), min_count=2, up_to=4)
    4
    """
    size = up_to
    while size > 0 and (len(xy) < min_count or counts_of(xy, size).max() < min_count):
        size = min(size - 1, int(size * 0.95))
    return size
