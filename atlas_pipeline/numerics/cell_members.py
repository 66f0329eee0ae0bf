"""Cosines of a grid's activations to their cell means: the coherence of each cell and its nearest members.

The means come from a first pass (``cells``); this is a second pass over the activations. The mean cosine, a
cell's coherence, is computed here because the first pass would need the sums of all unit vectors, which
doubles its memory. Memory grows with the number of cells, not of rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.cells import ROWS_AT_ONCE, Cells, check_same_length
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.numerics.random_keys import random_keys


class MeanCosines:
    """Cosines of a grid's members to their cell means. The cosine with a zero vector is 0."""

    def __init__(self, cells: Cells):
        self._grid_size = cells.grid_size
        self._slot = np.full(cells.grid_size**2, -1, np.int64)
        self._slot[flat_cell(np.stack([cells.row, cells.col], axis=1), cells.grid_size)] = np.arange(
            len(cells.row)
        )
        norms = np.linalg.norm(cells.activation.astype(np.float64), axis=1, keepdims=True)
        self._unit_mean = cells.activation / np.where(norms > 0, norms, 1.0)

    def of(
        self, xy: NDArray[np.floating], activation: NDArray[np.floating]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
        """Cosines of rows, in blocks.

        Args:   xy: (activation, 2) in the unit square. activation: (activation, channel).
        Yields: (member,) row numbers within the arguments, those outside the cells left out; (member,) number
                of the row's cell; (member,) cosine.
        """
        check_same_length(xy, activation)
        for start in range(0, len(xy), ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, len(xy))
            slot = self._slot[flat_cell(cell_of(xy[start:stop], self._grid_size), self._grid_size)]
            kept = np.flatnonzero(slot >= 0)
            yield start + kept, slot[kept], self._cosines(activation[start:stop][kept], slot[kept])

    def _cosines(self, members: NDArray[np.floating], slot: NDArray[np.int64]) -> NDArray[np.float64]:
        wide = members.astype(np.float64)
        dots = np.einsum("ij,ij->i", wide, self._unit_mean[slot])
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        return dots / np.where(norms > 0, norms, 1.0)


class CellMembers:
    """Accumulates the cosines of one grid's members to their cell means; add rows in order."""

    def __init__(self, cells: Cells, num_examples: int = 9):
        self._cells, self._cosines = cells, MeanCosines(cells)
        self._cosine_sum = np.zeros(len(cells.row))
        self._best_cosine = np.full((len(cells.row), num_examples), -np.inf, np.float32)
        self._best_row = np.full((len(cells.row), num_examples), -1, np.int64)
        self._best_draw = np.full((len(cells.row), num_examples), np.iinfo(np.uint64).max, np.uint64)
        self._num_rows = 0

    def add(self, xy: NDArray[np.floating], activation: NDArray[np.floating]) -> None:
        """Add rows: (activation, 2) in the unit square, (activation, channel)."""
        for kept, slot, cosine in self._cosines.of(xy, activation):
            self._cosine_sum += np.bincount(slot, weights=cosine, minlength=len(self._cosine_sum))
            self._keep_best(slot, cosine.astype(np.float32), self._num_rows + kept)
        self._num_rows += len(xy)

    def _keep_best(
        self, slot: NDArray[np.int64], cosine: NDArray[np.float32], row: NDArray[np.int64]
    ) -> None:
        """Merge candidates into the best of their cells: higher cosine first, ties by a hash of the row.

        Without the hash, the first of equal rows would all come from one class folder. Cosines are float32,
        so that equal rows tie regardless of the last bit of their float64 sums.
        """
        # Only rows that beat the last of the best matter; they are few once a cell has seen some rows.
        draw, last = random_keys(row), self._best_cosine[slot, -1]
        better = (cosine > last) | ((cosine == last) & (draw < self._best_draw[slot, -1]))
        slot, cosine, row, draw = slot[better], cosine[better], row[better], draw[better]
        touched, num_examples = np.unique(slot), self._best_row.shape[1]
        slots = np.concatenate([np.repeat(touched, num_examples), slot])
        cosines = np.concatenate([self._best_cosine[touched].ravel(), cosine])
        rows = np.concatenate([self._best_row[touched].ravel(), row])
        draws = np.concatenate([self._best_draw[touched].ravel(), draw])
        order = np.lexsort((draws, -cosines, slots))
        slots, cosines, rows, draws = slots[order], cosines[order], rows[order], draws[order]
        place = np.arange(len(slots)) - np.searchsorted(slots, slots)
        best = place < num_examples
        self._best_cosine[slots[best], place[best]] = cosines[best]
        self._best_row[slots[best], place[best]] = rows[best]
        self._best_draw[slots[best], place[best]] = draws[best]

    def coherence(self) -> NDArray[np.float32]:
        """(cell,) mean cosine of a cell's members to their mean, at most 1."""
        return (self._cosine_sum / np.maximum(self._cells.count, 1)).astype(np.float32)

    def nearest(self) -> NDArray[np.float32]:
        """(cell,) cosine of the member nearest to the mean; -inf before the cell's rows are added."""
        return self._best_cosine[:, 0].copy()

    def examples(self) -> NDArray[np.int64]:
        """Rows nearest to the cell's mean by cosine, nearest first: (cell, example); -1 if there are fewer.

        Rows are numbered from 0 in the order they were added. Ties are broken by a hash of the row number, so
        the result does not depend on how rows are split into parts.
        """
        return self._best_row.copy()
