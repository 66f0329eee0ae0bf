"""Keeps the rows with the largest values of a stream, in bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.random_keys import random_keys

_LEAST = float(np.nextafter(np.float32(0), np.float32(1)))


class TopRows:
    """Keeps the ``num_rows`` rows with the largest values above 0; a hash of the row number breaks ties.

    Without the hash, ties would all go to the first class folder. The object holds up to about twice
    ``num_rows`` rows and drops the excess in one go, which is cheap per row.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._rows: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._values: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._num_held = 0
        self._threshold = _LEAST

    def add(self, rows: NDArray[np.int64], values: NDArray[np.float32]) -> float:
        """Add rows and their values, copied. rows: ascending, later than all rows added before.

        Returns: the threshold: a later row with a value below it cannot be among the largest.
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
        """The best rows, ascending, and their values. num_rows: at most the number given at construction."""
        rows, values = np.concatenate(self._rows), np.concatenate(self._values)
        if len(rows) <= num_rows:
            return rows, values
        least = np.partition(values, -num_rows)[-num_rows]
        kept = values > least
        equal = np.flatnonzero(values == least)
        kept[equal[np.argsort(random_keys(rows[equal]))[: num_rows - np.count_nonzero(kept)]]] = True
        return rows[kept], values[kept]
