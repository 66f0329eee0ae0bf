"""Activations in blocks of rows, read again whenever they are iterated: a million need not be in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Blocks = Iterable[NDArray[np.floating]]
"""(activation, channel) blocks in order, iterated more than once: ``[matrix]`` for what is in memory."""


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some rows of the blocks, as blocks.

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


def in_order(
    blocks: Blocks, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
    """The rows asked for, a block at a time, with their places among ``rows``.

    Args: rows: (row,) int64, each once, in any order.
    """
    order = np.argsort(rows, kind="stable")
    start = 0
    for chosen in ChosenRows(blocks, rows[order]):
        yield order[start : start + len(chosen)], chosen
        start += len(chosen)


def gathered(blocks: Blocks, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(row, channel): the rows asked for, in their order, a row as often as it is asked for."""
    distinct, where = np.unique(rows, return_inverse=True)
    return np.concatenate([*ChosenRows(blocks, distinct)], dtype=np.float32)[where]
