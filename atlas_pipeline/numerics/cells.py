"""What the grids over a layout hold: counts, sums and top classes by cell, from one streamed pass over rows.

One accumulator a grid, all of them in one pass (``add_rows``). Passes over different rows may run apart:
their sums are added (``CellSums.merge``). Memory is bounded by the cells, whatever the rows. How the rows
fall into blocks and passes changes no result beyond float64 rounding; sums of float16 values are exact in
float64, so there it changes nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from atlas_pipeline.numerics.grid import cell_of, flat_cell, unflat_cell

# Rows turned to float64 at a time. Few: the allocator keeps blocks of up to 32 MB, and has larger ones mapped
# anew each time, which takes longer than the sums themselves.
ROWS_AT_ONCE = 4096


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSums:
    """The cells of one grid that some rows fall into, in reading order."""

    cell: NDArray[np.int64]  # (cell,), number in reading order
    count: NDArray[np.int64]  # (cell,), rows
    activation: NDArray[np.floating]  # (cell, channel), sum
    attribution: NDArray[np.floating] | None  # (cell, class), sum
    top_classes: sparse.csr_array | None = None  # (cell, class), rows whose top class it is


class CellSums:
    """Counts, float64 sums of activations and attributions, and top classes by cell.

    The top class of an activation is that of its highest attribution, of equals the first; an activation
    without any attribution, as behind a dead ReLU, has none and agrees with no other.
    """

    def __init__(self, grid_size: int):
        self.grid_size = grid_size
        self._count = np.zeros(grid_size**2, np.int64)
        self._activation: NDArray[np.float64] | None = None
        self._attribution: NDArray[np.float64] | None = None
        self._top_classes: sparse.csr_array | None = None

    def merge(self, other: PartialSums) -> None:
        """Add the sums over other rows."""
        self._count[other.cell] += other.count
        self._activation = self._added(self._activation, other.cell, other.activation)
        if other.attribution is not None:
            self._attribution = self._added(self._attribution, other.cell, other.attribution)
        if other.top_classes is not None:
            tops = other.top_classes.tocoo()
            self.count_top_classes(other.cell[tops.row], tops.col, tops.shape[1], tops.data)

    def count_top_classes(
        self,
        cell: NDArray[np.int64],
        top_class: NDArray[np.integer],
        num_classes: int,
        times: NDArray[np.int64] | None = None,
    ) -> None:
        """Add top classes: (row,) cells and classes, each of one activation, or of ``times`` many."""
        times = np.ones(len(cell), np.int64) if times is None else times
        # What comes several times is summed.
        more = sparse.csr_array((times, (cell, top_class)), shape=(len(self._count), num_classes))
        self._top_classes = more if self._top_classes is None else self._top_classes + more

    def partial(self) -> PartialSums:
        """What was added so far; the cells that nothing fell into left out."""
        touched = np.flatnonzero(self._count)
        tops = self._top_classes
        return PartialSums(
            cell=touched,
            count=self._count[touched],
            activation=np.zeros((0, 0)) if self._activation is None else self._activation[touched],
            attribution=None if self._attribution is None else self._attribution[touched],
            top_classes=None if tops is None else tops[touched],
        )

    def _added(
        self, sums: NDArray[np.float64] | None, cell: NDArray[np.int64], values: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        if sums is None:
            # The system commits zeros page by page as they are written: empty cells cost no memory.
            sums = np.zeros((len(self._count), values.shape[1]))
        sums[cell] += values
        return sums

    @property
    def counts(self) -> NDArray[np.int64]:
        """(grid_size, grid_size), row 0 on top, empty cells too; they add up to the rows."""
        return self._count.reshape(self.grid_size, self.grid_size)

    def cells(self, min_count: int = 1) -> Cells:
        """The cells with at least ``min_count`` activations (and one), with their means.

        Cells whose mean is zero point nowhere: they are left out. Behind a dead ReLU there are such.
        """
        kept = np.flatnonzero(self._count >= max(min_count, 1))
        if self._activation is not None:
            kept = kept[self._activation[kept].any(axis=1)]
        count = self._count[kept]
        row_col = unflat_cell(kept, self.grid_size).astype(np.int16)
        activation, attribution = (
            None if sums is None else (sums[kept] / count[:, None]).astype(np.float32)
            for sums in (self._activation, self._attribution)
        )
        tops = self._top_classes
        return Cells(
            grid_size=self.grid_size,
            row=row_col[:, 0],
            col=row_col[:, 1],
            count=count.astype(np.int32),
            activation=np.zeros((0, 0), np.float32) if activation is None else activation,
            attribution=attribution,
            consistency=None if tops is None else _commonest(tops[kept], count),
        )


def add_rows(
    sums: Sequence[CellSums],
    xy: NDArray[np.floating],
    activation: NDArray[np.floating],
    attribution: NDArray[np.floating] | None = None,
) -> None:
    """Add rows to the sums of several grids.

    Args:   xy: (activation, 2) in the unit square. activation: (activation, channel).
            attribution: (activation, class), or None in every call.
    Raises: ValueError: arrays of different lengths, or a point outside the unit square.
    """
    same_length(xy, activation)
    if attribution is not None:
        same_length(xy, attribution)
    flat = [flat_cell(cell_of(xy, grid.grid_size), grid.grid_size) for grid in sums]
    top_class = np.full(len(xy), -1)
    # At least once: no rows at all still say how wide they are.
    for start in range(0, max(len(xy), 1), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        wide = activation[rows].astype(np.float64)
        attributed = None if attribution is None else attribution[rows].astype(np.float64)
        if attributed is not None:
            speaks = attributed.any(axis=1)
            top_class[rows][speaks] = attributed[speaks].argmax(axis=1)
        for grid, cell_of_row in zip(sums, flat, strict=True):
            grid.merge(_summed(cell_of_row[rows], wide, attributed))
    if attribution is not None:
        speaking = np.flatnonzero(top_class >= 0)
        for grid, cell_of_row in zip(sums, flat, strict=True):
            grid.count_top_classes(cell_of_row[speaking], top_class[speaking], attribution.shape[1])


def _summed(
    flat: NDArray[np.int64], activation: NDArray[np.float64], attribution: NDArray[np.float64] | None
) -> PartialSums:
    cell, which, count = np.unique(flat, return_inverse=True, return_counts=True)
    # A sparse product adds the rows of each cell many times as fast as np.add.at.
    ones = np.ones(len(flat))
    members = sparse.csr_array((ones, (which, np.arange(len(flat)))), shape=(len(cell), len(flat)))
    return PartialSums(
        cell=cell,
        count=count,
        activation=members @ activation,
        attribution=None if attribution is None else members @ attribution,
    )


def _commonest(tops: sparse.csr_array, count: NDArray[np.int64]) -> NDArray[np.float32]:
    if not tops.shape[0]:
        return np.zeros(0, np.float32)
    return (tops.max(axis=1).toarray().ravel() / count).astype(np.float32)


def same_length(xy: NDArray[np.floating], values: NDArray[np.floating]) -> None:
    """Raises: ValueError: not as many rows of values as points."""
    if len(xy) != len(values):
        raise ValueError(
            f"{len(values)} rows of values for {len(xy)} points; each activation has one of each"
        )
