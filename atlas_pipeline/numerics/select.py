"""Selects the activations that matter to a class or separate two classes: many selections from one pass.

Rows are added in parts and in order; the split into parts does not change the result. A row is identified by
its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.top_rows import TopRows

Sign = Literal["positive", "negative"]
# Values compared at a time: 16 MiB as float32.
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRequest:
    """Requests the activations that support a class (``positive``) or oppose it (``negative``).

    column: of the class. filter: ``rank`` selects the rows whose highest attribution is the one to the class
    and above 0; ties go to the first class. ``magnitude`` selects the ``top`` rows by attribution to the
    class, only above 0; a hash breaks ties. ``both`` selects the union of the two. With sign ``negative``,
    the lowest attributions below 0 take the place of the highest above 0.
    """

    column: int
    filter: Literal["rank", "magnitude", "both"]
    sign: Sign = "positive"
    top: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """Requests the ``top`` activations by attribution to each of two classes, only above 0.

    left, right: columns of the classes.
    """

    left: int
    right: int
    top: int


class Selection(NamedTuple):
    """The rows of one request.

    rows: (selected,) int64, ascending, unique. value: (selected,) float32, logits: attribution to the class;
    for a comparison, attribution to the right class minus that to the left.
    """

    rows: NDArray[np.int64]
    value: NDArray[np.float32]


class Selections:
    """Computes the rows of all requests in one pass over the attributions.

    Memory: for each request with a ``top``, about twice as many rows; for requests by rank, a column and a
    value per row; for comparisons, the two columns.
    """

    def __init__(self, requests: Sequence[ClassRequest | ComparisonRequest]) -> None:
        tops: dict[Sign, dict[int, int]] = {"positive": {}, "negative": {}}
        ranked: dict[Sign, _Winners] = {}
        compared: set[int] = set()
        for request in requests:
            if isinstance(request, ComparisonRequest):
                compared |= {request.left, request.right}
                _raise_limit(tops["positive"], request.top, request.left, request.right)
                continue
            if request.filter != "magnitude":
                ranked.setdefault(request.sign, _Winners(request.sign))
            if request.filter != "rank":
                _raise_limit(tops[request.sign], request.top, request.column)
        self._num_rows = 0
        self._winners = ranked
        self._tops = {sign: _Tops(sign, wanted) for sign, wanted in tops.items() if wanted}
        self._compared: dict[int, list[np.ndarray]] = {column: [] for column in sorted(compared)}

    def add(self, attribution: np.ndarray) -> None:
        """Add the next rows. attribution: (activation, class) float16 or float32, logits, finite."""
        for column, parts in self._compared.items():
            parts.append(attribution[:, column].copy())
        num_rows = max(1, BLOCK_VALUES // attribution.shape[1])
        for start in range(0, len(attribution), num_rows):
            # float32 represents every float16 exactly and is compared many times faster.
            block = attribution[start : start + num_rows].astype(np.float32, copy=False)
            for winners in self._winners.values():
                winners.add(block)
            for tops in self._tops.values():
                tops.add(block, first_row=self._num_rows)
            self._num_rows += len(block)

    def selected(self, request: ClassRequest | ComparisonRequest) -> Selection:
        """The selection of one request over the rows added so far."""
        if isinstance(request, ComparisonRequest):
            tops = self._tops["positive"]
            rows = np.union1d(*(tops.rows(c, request.top)[0] for c in (request.left, request.right)))
            return Selection(rows, self._column(request.right)[rows] - self._column(request.left)[rows])
        found = []
        if request.filter != "magnitude":
            found.append(self._winners[request.sign].rows(request.column))
        if request.filter != "rank":
            found.append(self._tops[request.sign].rows(request.column, request.top))
        # A selection is a set: rows that both filters select occur once.
        rows, first = np.unique(np.concatenate([rows for rows, _ in found]), return_index=True)
        return Selection(rows, np.concatenate([value for _, value in found])[first])

    def _column(self, column: int) -> NDArray[np.float32]:
        return np.concatenate([np.empty(0, np.float32), *self._compared[column]], dtype=np.float32)


def _raise_limit(tops: dict[int, int], top: int, *columns: int) -> None:
    """Raise the limit of columns to ``top``: requests for one column share its rows."""
    for column in columns:
        tops[column] = max(top, tops.get(column, 0))


class _Winners:
    """For every row, the column of its highest (lowest) value, if that is above (below) 0."""

    def __init__(self, sign: Sign) -> None:
        self._is_highest = sign == "positive"
        self._columns = [np.empty(0, np.int32)]
        self._values = [np.empty(0, np.float32)]
        self._order: np.ndarray | None = None

    def add(self, block: NDArray[np.float32]) -> None:
        column = block.argmax(axis=1) if self._is_highest else block.argmin(axis=1)
        value = block[np.arange(len(block)), column]
        has_sign = value > 0 if self._is_highest else value < 0
        self._columns.append(np.where(has_sign, column, -1).astype(np.int32))
        self._values.append(value)
        self._order = None

    def rows(self, column: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows in which the column is highest (lowest), ascending, and their values."""
        if self._order is None:
            self._columns, self._values = [np.concatenate(self._columns)], [np.concatenate(self._values)]
            # Sort once for all columns; a stable sort keeps the rows of each column in order.
            self._order = np.argsort(self._columns[0], kind="stable")
        first, last = np.searchsorted(self._columns[0], [column, column + 1], sorter=self._order)
        rows = self._order[first:last]
        return rows, self._values[0][rows]


class _Tops:
    """Rows with the largest (smallest, if negative) values of some columns: one `TopRows` per column."""

    def __init__(self, sign: Sign, wanted: Mapping[int, int]) -> None:
        self._factor = 1 if sign == "positive" else -1
        self._columns = np.array(sorted(wanted))
        self._tops = [TopRows(wanted[column]) for column in self._columns.tolist()]
        self._place = {column: place for place, column in enumerate(self._columns.tolist())}
        # The smallest positive float32: only values above 0 are kept.
        self._threshold = np.full(len(self._columns), np.nextafter(np.float32(0), np.float32(1)))

    def add(self, block: NDArray[np.float32], first_row: int) -> None:
        values = block if len(self._columns) == block.shape[1] else block[:, self._columns]
        values = values if self._factor == 1 else -values
        # Ordered by column, and within a column by row.
        place, row = np.nonzero(np.ascontiguousarray((values >= self._threshold).T))
        value = values[row, place]
        ends = np.searchsorted(place, np.arange(1, len(self._columns) + 1))
        for i in np.flatnonzero(np.diff(ends, prepend=0)).tolist():
            found = slice(ends[i - 1] if i else 0, ends[i])
            self._threshold[i] = self._tops[i].add(row[found] + first_row, value[found])

    def rows(self, column: int, num_rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows, value = self._tops[self._place[column]].first(num_rows)
        return rows, self._factor * value
