"""The range of a cell's members: some of them, from the nearest to the mean to the farthest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.cell_members import MeanCosines
from atlas_pipeline.numerics.cells import Cells
from atlas_pipeline.numerics.random_keys import random_keys


class MemberRange:
    """Collects the cosines of one grid's members to their cell means; add rows in order.

    Memory: eight bytes a row.
    """

    def __init__(self, cells: Cells, num_rows: int):
        self._cosines, self._num_cells = MeanCosines(cells), len(cells.row)
        self._slot = np.full(num_rows, -1, np.int32)
        self._cosine = np.zeros(num_rows, np.float32)
        self._num_added = 0

    def add(self, xy: NDArray[np.floating], activation: NDArray[np.floating]) -> None:
        """Add rows: (activation, 2) in the unit square, (activation, channel)."""
        for kept, slot, cosine in self._cosines.of(xy, activation):
            self._slot[self._num_added + kept] = slot
            self._cosine[self._num_added + kept] = cosine
        self._num_added += len(xy)

    def rows(self, num: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Members at equal steps of rank by cosine: the nearest first, the farthest last.

        Members of equal cosine are ordered by a hash of the row number, as in `CellMembers.examples`.

        Args:    num: members of a cell, at least 2; a cell with fewer has all of its own.
        Returns: (cell, num) row numbers in the order they were added, -1 if there are fewer; their cosines.
        """
        member = np.flatnonzero(self._slot >= 0)
        order = np.lexsort((random_keys(member), -self._cosine[member], self._slot[member]))
        member = member[order]
        start, stop = (
            np.searchsorted(self._slot[member], np.arange(self._num_cells), side=side)
            for side in ("left", "right")
        )
        rank = np.rint(np.outer(stop - start - 1, np.linspace(0, 1, num))).astype(np.int64)
        is_new = np.column_stack([stop > start, np.diff(rank, axis=1) > 0])
        row = member[np.where(is_new, start[:, None] + rank, 0)] if len(member) else np.zeros_like(rank)
        return np.where(is_new, row, -1), np.where(is_new, self._cosine[row], np.nan).astype(np.float32)
