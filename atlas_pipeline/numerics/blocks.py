"""Activations in blocks of rows that are read on each iteration, so that they need not fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Blocks = Iterable[NDArray[np.floating]]
"""(activation, channel) blocks in order, iterated more than once; use ``[matrix]`` for data in memory."""


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """A subset of the rows of some blocks, as blocks.

    Args: rows: (chosen,) int64, ascending.
    """

    blocks: Blocks
    rows: NDArray[np.int64]

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        start = 0
        for block in self.blocks:
            first, last = np.searchsorted(self.rows, (start, start + len(block)))
            yield block[self.rows[first:last] - start]
            start += len(block)


def rows_in_order(
    blocks: Blocks, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
    """Read rows block by block, each block with the positions of its rows in ``rows``.

    Args: rows: (row,) int64, unique, in any order.
    """
    order = np.argsort(rows, kind="stable")
    start = 0
    for chosen in ChosenRows(blocks, rows[order]):
        yield order[start : start + len(chosen)], chosen
        start += len(chosen)


def gather_rows(blocks: Blocks, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read rows in the given order, repeats included: (row, channel)."""
    distinct, where = np.unique(rows, return_inverse=True)
    return np.concatenate([*ChosenRows(blocks, distinct)], dtype=np.float32)[where]
