"""The activations that a view shows: a whole sample, or the rows that `select` chose from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.tables.columns import column_matrix

# Rows of the sample that one read spans at most: the default size of a sample's part.
MAX_SPAN_ROWS = 16384

# Chosen rows further apart than this, the size of a row group, are read separately. The row groups between
# them are then skipped.
GAP_ROWS = 8192


@dataclass(frozen=True)
class Selected:
    """The chosen rows of a sample, in the sample's order, as an `Artefact`.

    Row groups that contain no chosen row are not read. The rows correspond one to one to those of `select`.
    Config, inputs and notes are the sample's; stage and fingerprint are the selection's.
    """

    sample: Artefact
    select: Artefact

    @property
    def stage(self) -> str:
        return self.select.stage

    @property
    def fingerprint(self) -> str:
        return self.select.fingerprint

    @property
    def config(self) -> Mapping[str, Any]:
        return self.sample.config

    @property
    def inputs(self) -> Mapping[str, Mapping[str, Any]]:
        return self.sample.inputs

    @property
    def notes(self) -> Mapping[str, Any]:
        return self.sample.notes

    @property
    def digest(self) -> str:
        return self.sample.digest + self.select.digest

    @property
    def num_rows(self) -> int:
        return self.select.num_rows

    @property
    def num_parts(self) -> int:
        return len(self._stretches(0, self.num_rows))

    @property
    def schema(self) -> pa.Schema:
        return self.sample.schema

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All chosen rows, in memory."""
        return self.rows(0, self.num_rows, columns)

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table per stretch of the sample, in order, with one in memory at a time.

        A selection without rows gives one empty table.
        """
        yield from self._tables(0, self.num_rows, columns)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One table per stretch of the sample; the same tables as `parts`."""
        return self.parts(columns)

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Chosen rows [start, stop).

        Raises: IndexError: the range exceeds the rows.
        """
        if not 0 <= start <= stop <= self.num_rows:
            raise IndexError(f"rows {start} to {stop} of {self.num_rows}")
        return pa.concat_tables(self._tables(start, stop, columns))

    @cached_property
    def _sample_rows(self) -> np.ndarray:
        return self.select.read(["sample_row"])["sample_row"].to_numpy()

    def _tables(self, start: int, stop: int, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        for chosen in self._stretches(start, stop):
            first, last = (int(chosen[0]), int(chosen[-1]) + 1) if len(chosen) else (0, 0)
            # take() copies, so the stretch that was read is freed.
            yield self.sample.rows(first, last, columns).take(pa.array(chosen - first))

    def _stretches(self, start: int, stop: int) -> list[np.ndarray]:
        """Sample row numbers of the chosen rows [start, stop), one array per read.

        There is at least one array; it is empty if no row is chosen.
        """
        chosen = self._sample_rows[start:stop]
        far = np.flatnonzero(np.diff(chosen) > GAP_ROWS) + 1
        stretches = []
        for near in np.split(chosen, far):
            # Count spans from the sample's first row, so that a stretch lies within one part of that size.
            stretches += np.split(near, np.flatnonzero(np.diff(near // MAX_SPAN_ROWS)) + 1)
        return stretches


def population(sample: Artefact, select: Artefact | None) -> Artefact:
    """The activations of a view: the whole sample, or the selected rows of it."""
    return sample if select is None else Selected(sample, select)


# A block spans several row groups, because those at its two ends may be read only to discard part of them.
_BLOCK_ROWS = 1 << 15


def placed_rows(
    activations: Artefact, layout: Artefact, columns: Sequence[str], start: int, stop: int
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Rows [start, stop) of a view's activations in blocks, each with its positions in the layout.

    Args:   activations: a `population`. layout: its layout, with the same rows.
    Yields: (activation, 2) float32 in the unit square, y up; and a table of the requested columns.
    """
    for first in range(start, max(stop, start + 1), _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, stop)
        yield layout_xy(layout.rows(first, last, ["x", "y"])), activations.rows(first, last, columns)


@dataclass(frozen=True, slots=True)
class ActivationBlocks:
    """A sample's activations, (activation, channel) per part; each iteration reads the sample again."""

    sample: Artefact

    def __iter__(self) -> Iterator[np.ndarray]:
        return (column_matrix(part, "activation") for part in self.sample.parts(["activation"]))


def layout_xy(table: pa.Table) -> np.ndarray:
    """Positions of a layout's table: (activation, 2) float32 in the unit square, y up."""
    return np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
