"""Contents of grid cells over a layout: counts, sums and top classes, from one streamed pass over the rows.

Each grid has one accumulator, and one pass fills all of them (``add_rows``). Different rows can be processed
separately and their sums added (``CellSums.merge``). Memory grows with the number of cells, not of rows. The
split into blocks and passes changes results only by float64 rounding. Sums of float16 values are exact in
float64, so there it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from atlas_pipeline.numerics.grid import cell_of, flat_cell, unflat_cell

# Rows converted to float64 at a time. The allocator keeps blocks of up to 32 MB; larger ones are mapped again
# each time, which takes longer than the sums.
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells of one grid with enough activations, in reading order."""

    grid_size: int
    row: NDArray[np.int16]  # (cell,), 0 is the top
    col: NDArray[np.int16]  # (cell,), 0 is the left
    count: NDArray[np.int32]  # (cell,), number of activations
    activation: NDArray[np.float32]  # (cell, channel), mean
    attribution: NDArray[np.float32] | None  # (cell, class), mean
    consistency: NDArray[np.float32] | None  # (cell,), share of members with the most frequent top class


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSums:
    """Sums over some rows for the cells of one grid that contain them, in reading order."""

    cell: NDArray[np.int64]  # (cell,), number in reading order
    count: NDArray[np.int64]  # (cell,), number of rows
    activation: NDArray[np.floating]  # (cell, channel), sum
    attribution: NDArray[np.floating] | None  # (cell, class), sum
    top_classes: sparse.csr_array | None = None  # (cell, class), number of rows with this top class


class CellSums:
    """Accumulates counts, float64 sums of activations and attributions, and top classes of each cell.

    The top class of an activation is the class with the highest attribution; ties go to the first class. An
    activation with no attribution, for example behind a dead ReLU, has no top class and agrees with no other.
    """

    def __init__(self, grid_size: int):
        self.grid_size = grid_size
        self._count = np.zeros(grid_size**2, np.int64)
        self._activation: NDArray[np.float64] | None = None
        self._attribution: NDArray[np.float64] | None = None
        self._top_classes: sparse.csr_array | None = None

    def merge(self, other: PartialSums) -> None:
        """Add sums over other rows."""
        self._count[other.cell] += other.count
        self._activation = self._add_to(self._activation, other.cell, other.activation)
        if other.attribution is not None:
            self._attribution = self._add_to(self._attribution, other.cell, other.attribution)
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
        """Add top classes: (row,) cells and classes, each of one activation or of ``times`` activations."""
        times = np.ones(len(cell), np.int64) if times is None else times
        # The sparse constructor sums repeated entries.
        more = sparse.csr_array((times, (cell, top_class)), shape=(len(self._count), num_classes))
        self._top_classes = more if self._top_classes is None else self._top_classes + more

    def partial(self) -> PartialSums:
        """Everything added so far, without the empty cells."""
        touched = np.flatnonzero(self._count)
        tops = self._top_classes
        return PartialSums(
            cell=touched,
            count=self._count[touched],
            activation=np.zeros((0, 0)) if self._activation is None else self._activation[touched],
            attribution=None if self._attribution is None else self._attribution[touched],
            top_classes=None if tops is None else tops[touched],
        )

    def _add_to(
        self, sums: NDArray[np.float64] | None, cell: NDArray[np.int64], values: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        if sums is None:
            # The system commits zero pages only when they are written, so empty cells cost no memory.
            sums = np.zeros((len(self._count), values.shape[1]))
        sums[cell] += values
        return sums

    @property
    def counts(self) -> NDArray[np.int64]:
        """(grid_size, grid_size), row 0 is the top; includes empty cells; sums to the number of rows."""
        return self._count.reshape(self.grid_size, self.grid_size)

    def cells(self, min_count: int = 1) -> Cells:
        """The cells with at least ``min_count`` activations (and at least one), with their means.

        A cell whose mean is zero has no direction and is left out; this happens behind a dead ReLU.
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
            consistency=None if tops is None else _consistency(tops[kept], count),
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
    check_same_length(xy, activation)
    if attribution is not None:
        check_same_length(xy, attribution)
    flat = [flat_cell(cell_of(xy, grid.grid_size), grid.grid_size) for grid in sums]
    top_class = np.full(len(xy), -1)
    # Run at least once: an empty array still sets the number of channels.
    for start in range(0, max(len(xy), 1), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        wide = activation[rows].astype(np.float64)
        attributed = None if attribution is None else attribution[rows].astype(np.float64)
        if attributed is not None:
            has_attribution = attributed.any(axis=1)
            top_class[rows][has_attribution] = attributed[has_attribution].argmax(axis=1)
        for grid, cell_of_row in zip(sums, flat, strict=True):
            grid.merge(_sum_by_cell(cell_of_row[rows], wide, attributed))
    if attribution is not None:
        with_top_class = np.flatnonzero(top_class >= 0)
        for grid, cell_of_row in zip(sums, flat, strict=True):
            grid.count_top_classes(
                cell_of_row[with_top_class], top_class[with_top_class], attribution.shape[1]
            )


def _sum_by_cell(
    flat: NDArray[np.int64], activation: NDArray[np.float64], attribution: NDArray[np.float64] | None
) -> PartialSums:
    cell, which, count = np.unique(flat, return_inverse=True, return_counts=True)
    # A sparse product is many times faster than np.add.at.
    ones = np.ones(len(flat))
    members = sparse.csr_array((ones, (which, np.arange(len(flat)))), shape=(len(cell), len(flat)))
    return PartialSums(
        cell=cell,
        count=count,
        activation=members @ activation,
        attribution=None if attribution is None else members @ attribution,
    )


def _consistency(tops: sparse.csr_array, count: NDArray[np.int64]) -> NDArray[np.float32]:
    if not tops.shape[0]:
        return np.zeros(0, np.float32)
    return (tops.max(axis=1).toarray().ravel() / count).astype(np.float32)


def check_same_length(xy: NDArray[np.floating], values: NDArray[np.floating]) -> None:
    """Check that points and values have the same number of rows, or raise ValueError."""
    if len(xy) != len(values):
        raise ValueError(
            f"{len(values)} rows of values for {len(xy)} points; each activation has one of each"
        )
