"""Regions of a map: connected cells with the same top class. Figures and the viewer name them by one rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Share of the largest region's activations below which a region is too small to label.
SMALLEST_SHARE = 0.05
# Share of a region's activations that must agree on a class, or the region gets no name.
MAJORITY = 0.5


def connected_regions(cells: ArrayLike, classes: ArrayLike, grid_size: int) -> NDArray[np.int64]:
    """Number the regions: cells that share a side and have the same class belong to one region.

    Args:    cells: (cell, 2) row, col, unique. classes: (cell,) class index, -1 for none.
    Returns: (cell,) region numbers from 0, in the order of their first cells; -1 for cells without a class.
    """
    row_col, top = np.asarray(cells, dtype=np.int64).reshape(-1, 2), np.asarray(classes, dtype=np.int64)
    # A border of empty cells, so that the neighbours of border cells need no special case.
    where = np.full((grid_size + 2, grid_size + 2), -1, dtype=np.int64)
    row, col = row_col[:, 0] + 1, row_col[:, 1] + 1
    where[row, col] = np.arange(len(row_col))
    pairs = []
    for beside in (where[row, col + 1], where[row + 1, col]):
        cell = np.flatnonzero(beside >= 0)
        pairs.append(np.stack([cell, beside[cell]]))
    one, other = np.concatenate(pairs, axis=1)
    same = top[one] == top[other]
    links = coo_array((same[same], (one[same], other[same])), shape=(len(top), len(top)))
    number = connected_components(links, directed=False)[1].astype(np.int64)
    number[top < 0] = -1
    known, first = np.unique(number, return_index=True)
    order = np.argsort(first[known >= 0], kind="stable")
    renumbered = np.full(len(top) + 1, -1, dtype=np.int64)
    renumbered[known[known >= 0][order]] = np.arange(len(order))
    return renumbered[number]


def agreeing_regions(regions: ArrayLike, counts: ArrayLike, agreement: ArrayLike) -> NDArray[np.int64]:
    """Leave out the regions in which fewer than half of the activations agree on a class.

    The mean attribution of a cell always has some highest class, even where its activations support a hundred
    different ones. Such a class is no name for the place.

    Args:    regions: (cell,) numbers, -1 for none. counts: (cell,) activations. agreement: (cell,) share of a
             cell's activations with the commonest top class; NaN counts as 0.
    Returns: (cell,) the numbers; -1 where less than half of the region's activations agree.

    >>> agreeing_regions([0, 0, 1], [10, 30, 10], [1.0, 0.3, 0.6]).tolist()
    [-1, -1, 1]
    """
    number, count = np.asarray(regions, dtype=np.int64), np.asarray(counts, dtype=np.float64)
    agree = count * np.nan_to_num(np.asarray(agreement, dtype=np.float64))
    # Cells without a region come last, in a region of their own that is never kept.
    last = int(number.max(initial=-1)) + 1
    of_cell = np.where(number >= 0, number, last)
    total, agreed = (np.bincount(of_cell, weights=w, minlength=last + 1) for w in (count, agree))
    kept = agreed >= MAJORITY * total
    kept[last] = False
    return np.where(kept[of_cell], number, -1)


def largest_regions(regions: ArrayLike, counts: ArrayLike, most: int) -> NDArray[np.int64]:
    """The regions with the most activations, largest first; ties go to the lower number.

    Regions with less than a twentieth of the largest region's activations are left out.

    Args:    regions: (cell,) numbers, -1 for none. counts: (cell,) activations.
    Returns: (region <= most,) region numbers.
    """
    number, count = np.asarray(regions, dtype=np.int64), np.asarray(counts, dtype=np.float64)
    total = np.bincount(number[number >= 0], weights=count[number >= 0])
    large_enough = total >= SMALLEST_SHARE * total.max(initial=0.0)
    return np.argsort(-total, kind="stable")[: min(most, int(large_enough.sum()))]


def innermost_cell(cells: ArrayLike) -> int:
    """The cell farthest from the outside of its region: the target of a label's leader line.

    Ties go to the cell nearest to the region's centre of mass.

    Args:    cells: (cell, 2) row, col of one region.
    Returns: index into ``cells``.
    Raises:  ValueError: no cells.
    """
    row_col = np.asarray(cells, dtype=np.int64).reshape(-1, 2)
    if len(row_col) == 0:
        raise ValueError("a region has at least one cell")
    inside = row_col - row_col.min(axis=0) + 1
    mask = np.zeros(inside.max(axis=0) + 2, dtype=bool)
    mask[tuple(inside.T)] = True
    depth = distance_transform_edt(mask)[tuple(inside.T)]
    off_centre = np.linalg.norm(row_col - row_col.mean(axis=0), axis=1)
    return int(np.lexsort([off_centre, -depth])[0])


def outline(cells: ArrayLike) -> NDArray[np.int64]:
    """Outer border of a region as straight lines of maximal length; holes are not outlined.

    Args:    cells: (cell, 2) row, col of one region.
    Returns: (line, 2, 2): the two ends of each line as row, col of cell corners; corner (0, 0) is the top
             left of cell (0, 0).
    """
    row_col = np.asarray(cells, dtype=np.int64).reshape(-1, 2)
    if len(row_col) == 0:
        return np.empty((0, 2, 2), dtype=np.int64)
    corner = row_col.min(axis=0)
    mask = np.zeros(row_col.max(axis=0) - corner + 3, dtype=bool)
    mask[tuple((row_col - corner + 1).T)] = True
    mask = binary_fill_holes(mask).astype(np.int8)
    # A border lies between two rows (or columns) where only one of them belongs to the region.
    across, down = np.diff(mask, axis=0) != 0, np.diff(mask, axis=1).T != 0
    return np.concatenate([_runs(across), _runs(down)[:, :, ::-1]]) + corner


def _runs(border: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(run, 2, 2): first and last corner of every unbroken run in each line, as (line, position in it)."""
    changes = np.diff(np.pad(border, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    line, start = np.nonzero(changes == 1)
    _, stop = np.nonzero(changes == -1)
    # The mask is padded by one cell: corner k of the border is corner k - 1 of the region.
    return np.stack([np.stack([line, start - 1], axis=1), np.stack([line, stop - 1], axis=1)], axis=1)
