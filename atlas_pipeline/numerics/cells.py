"""What a grid's cells hold, from two streamed passes over the activations.

The first pass (``CellSums``) gives counts, means and how far the members of a cell agree on a class, the
second (``CellMembers``) how alike they are and which of them are nearest the mean. Memory is bounded by the
cells, whatever the rows; one accumulator a grid, several side by side in one pass. How the rows fall into
parts changes no result beyond float64 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.grid import cell_of, flat_cell, unflat_cell

# Rows turned to float64 at a time: at 1,000 classes 131 MB.
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells of one grid that hold enough activations, in reading order."""

    grid_size: int
    row: NDArray[np.int16]  # (cell,), 0 on top
    col: NDArray[np.int16]  # (cell,), 0 on the left
    count: NDArray[np.int32]  # (cell,), activations
    activation: NDArray[np.float32]  # (cell, channel), mean
    attribution: NDArray[np.float32] | None  # (cell, class), mean
    consistency: NDArray[np.float32] | None  # (cell,), share of members with the commonest top class


class CellSums:
    """First pass: counts, float64 sums of activations and attributions, and top classes by cell.

    The top class of an activation is that of its highest attribution, of equals the first; an activation
    without any attribution, as behind a dead ReLU, has none and agrees with no other.
    """

    def __init__(self, grid_size: int):
        self.grid_size = grid_size
        self._count = np.zeros(grid_size**2, np.int64)
        self._sums: list[NDArray[np.float64] | None] = [None, None]
        self._top_classes: NDArray[np.int32] | None = None

    def add(
        self,
        xy: NDArray[np.floating],
        activation: NDArray[np.floating],
        attribution: NDArray[np.floating] | None = None,
    ) -> None:
        """Add rows.

        Args:   xy: (activation, 2) in the unit square. activation: (activation, channel).
                attribution: (activation, class), or None in every call.
        Raises: ValueError: arrays of different lengths, or a point outside the unit square.
        """
        # At least once: no rows at all still say how wide they are.
        for start in range(0, max(len(xy), 1), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            flat = flat_cell(cell_of(xy[rows], self.grid_size), self.grid_size)
            self._count += np.bincount(flat, minlength=len(self._count))
            for which, values in enumerate((activation, attribution)):
                if values is not None:
                    _same_length(xy, values)
                    self._sums[which] = self._added(self._sums[which], flat, values[rows])
            if attribution is not None:
                self._top_classes = self._counted(self._top_classes, flat, attribution[rows])

    def _added(
        self, sums: NDArray[np.float64] | None, flat: NDArray[np.int64], values: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        if sums is None:
            # The system commits zeros page by page as they are written: empty cells cost no memory.
            sums = np.zeros((len(self._count), values.shape[1]))
        order = np.argsort(flat, kind="stable")
        cells, starts = np.unique(flat[order], return_index=True)
        by_cell = values[order].astype(np.float64)
        stops = np.append(starts, len(flat))[1:]
        # A loop over cells is five times as fast as np.add.reduceat along the rows.
        for cell, start, stop in zip(cells.tolist(), starts.tolist(), stops.tolist(), strict=True):
            sums[cell] += by_cell[start:stop].sum(axis=0)
        return sums

    def _counted(
        self, counts: NDArray[np.int32] | None, flat: NDArray[np.int64], attribution: NDArray[np.floating]
    ) -> NDArray[np.int32]:
        if counts is None:
            counts = np.zeros((len(self._count), attribution.shape[1]), np.int32)
        speaks = attribution.any(axis=1)
        # float32: twice as fast as in float16, and no value changes.
        top_class = attribution.astype(np.float32, copy=False).argmax(axis=1)
        np.add.at(counts, (flat[speaks], top_class[speaks]), 1)
        return counts

    @property
    def counts(self) -> NDArray[np.int64]:
        """(grid_size, grid_size), row 0 on top, empty cells too; they add up to the rows."""
        return self._count.reshape(self.grid_size, self.grid_size)

    def cells(self, min_count: int = 1) -> Cells:
        """The cells with at least ``min_count`` activations (and one), with their means.

        Cells whose mean is zero point nowhere: they are left out. Behind a dead ReLU there are such.
        """
        kept = np.flatnonzero(self._count >= max(min_count, 1))
        if self._sums[0] is not None:
            kept = kept[self._sums[0][kept].any(axis=1)]
        count = self._count[kept]
        row_col = unflat_cell(kept, self.grid_size).astype(np.int16)
        activation, attribution = (
            None if sums is None else (sums[kept] / count[:, None]).astype(np.float32) for sums in self._sums
        )
        tops = self._top_classes
        return Cells(
            grid_size=self.grid_size,
            row=row_col[:, 0],
            col=row_col[:, 1],
            count=count.astype(np.int32),
            activation=np.zeros((0, 0), np.float32) if activation is None else activation,
            attribution=attribution,
            consistency=None if tops is None else (tops[kept].max(axis=1) / count).astype(np.float32),
        )


class CellMembers:
    """Second pass, over the same rows in the same order: cosines of a cell's members to its mean.

    The cosine with a vector of zeros is 0.
    """

    def __init__(self, cells: Cells, num_examples: int = 9):
        self._cells = cells
        self._slot = np.full(cells.grid_size**2, -1, np.int64)
        self._slot[flat_cell(np.stack([cells.row, cells.col], axis=1), cells.grid_size)] = np.arange(
            len(cells.row)
        )
        norms = np.linalg.norm(cells.activation.astype(np.float64), axis=1, keepdims=True)
        self._unit_mean = cells.activation / np.where(norms > 0, norms, 1.0)
        self._cosine_sum = np.zeros(len(cells.row))
        self._best_cosine = np.full((len(cells.row), num_examples), -np.inf, np.float32)
        self._best_row = np.full((len(cells.row), num_examples), -1, np.int64)
        self._num_rows = 0

    def add(self, xy: NDArray[np.floating], activation: NDArray[np.floating]) -> None:
        """Add rows: (activation, 2) in the unit square, (activation, channel)."""
        _same_length(xy, activation)
        for start in range(0, len(xy), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(xy))
            grid_size = self._cells.grid_size
            slot = self._slot[flat_cell(cell_of(xy[start:stop], grid_size), grid_size)]
            kept = np.flatnonzero(slot >= 0)
            cosine = self._cosines(activation[start:stop][kept].astype(np.float64), slot[kept])
            self._cosine_sum += np.bincount(slot[kept], weights=cosine, minlength=len(self._cosine_sum))
            self._keep_best(slot[kept], cosine.astype(np.float32), self._num_rows + start + kept)
        self._num_rows += len(xy)

    def _cosines(self, members: NDArray[np.float64], slot: NDArray[np.int64]) -> NDArray[np.float64]:
        dots = np.einsum("ij,ij->i", members, self._unit_mean[slot])
        norms = np.sqrt(np.einsum("ij,ij->i", members, members))
        return dots / np.where(norms > 0, norms, 1.0)

    def _keep_best(
        self, slot: NDArray[np.int64], cosine: NDArray[np.float32], row: NDArray[np.int64]
    ) -> None:
        """Merge candidates into the best of their cells: higher cosine first, then the earlier row.

        float32 cosines: equal rows tie whatever the last bit of their float64 sums.
        """
        touched, num_examples = np.unique(slot), self._best_row.shape[1]
        slots = np.concatenate([np.repeat(touched, num_examples), slot])
        cosines = np.concatenate([self._best_cosine[touched].ravel(), cosine])
        rows = np.concatenate([self._best_row[touched].ravel(), row])
        order = np.lexsort((rows, -cosines, slots))
        slots, cosines, rows = slots[order], cosines[order], rows[order]
        place = np.arange(len(slots)) - np.searchsorted(slots, slots)
        best = place < num_examples
        self._best_cosine[slots[best], place[best]] = cosines[best]
        self._best_row[slots[best], place[best]] = rows[best]

    def coherence(self) -> NDArray[np.float32]:
        """(cell,) mean cosine of a cell's members to their mean, at most 1."""
        return (self._cosine_sum / np.maximum(self._cells.count, 1)).astype(np.float32)

    def nearest(self) -> NDArray[np.float32]:
        """(cell,) cosine of the member nearest the mean; -inf before the cell's rows were added."""
        return self._best_cosine[:, 0].copy()

    def examples(self) -> NDArray[np.int64]:
        """(cell, example) rows nearest the cell's mean by cosine, nearest first; -1 where a cell has fewer.

        Rows count from 0 over all parts in the order they were added; of equals the earlier row comes first.
        """
        return self._best_row.copy()


def _same_length(xy: NDArray[np.floating], values: NDArray[np.floating]) -> None:
    if len(xy) != len(values):
        raise ValueError(
            f"{len(values)} rows of values for {len(xy)} points; each activation has one of each"
        )
