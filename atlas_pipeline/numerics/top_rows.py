"""The rows with the largest values of a stream, kept in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.draws import drawn

_LEAST = float(np.nextafter(np.float32(0), np.float32(1)))


class TopRows:
    """The ``num_rows`` rows with the largest values above 0; of equal values those drawn.

    The earlier of equal ones would all be of the first class folder. The draw depends on row numbers alone.
    Holds about twice as many: those in excess are dropped together, which costs little a row.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._values: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._num_held = 0
        self._threshold = _LEAST

    def add(self, rows: NDArray[np.int64], values: NDArray[np.float32]) -> float:
        """Take in rows, ascending, later than all before, and their values; both are copied.

        Returns: the threshold: a later row whose value is below it is not among the largest.
        """
        above = values >= self._threshold
        self._rows.append(rows[above])
        self._values.append(values[above])
        self._num_held += len(self._rows[-1])
        if self._num_held >= 2 * self._num_rows:
            kept, kept_values = self.first(self._num_rows)
            self._rows, self._values, self._num_held = [kept], [kept_values], len(kept)
            self._threshold = float(kept_values.min())
        return self._threshold

    def first(self, num_rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The (at most) ``num_rows`` best, no more than the object was made for: rows, ascending; values."""
        rows, values = np.concatenate(self._rows), np.concatenate(self._values)
        if len(rows) <= num_rows:
            return rows, values
        least = np.partition(values, -num_rows)[-num_rows]
        kept = values > least
        equal = np.flatnonzero(values == least)
        kept[equal[np.argsort(drawn(rows[equal]))[: num_rows - np.count_nonzero(kept)]]] = True
        return rows[kept], values[kept]
