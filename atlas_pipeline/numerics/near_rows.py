"""The nearest of some rows, in a layout and among the activations, and the ranks of the ones there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atlas_pipeline.numerics.blocks import Blocks

Metric = Literal["cosine", "euclidean"]

_ROWS_AT_ONCE = 4096


def nearest_shown(layout: NDArray[np.floating], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(row, k) the nearest of some rows in the layout, without themselves."""
    # Unbalanced: many equal points would make the balanced tree's build quadratic.
    tree = cKDTree(layout, balanced_tree=False, compact_nodes=False)
    near = tree.query(layout[rows], k + 1)[1]
    own = near == rows[:, None]
    # Among copies a row may not find itself; then the farthest goes.
    own[~own.any(axis=1), k] = True
    return near[~own].reshape(len(rows), k)


def _distances(
    activations: Blocks, sample: NDArray[np.int64], rows: NDArray[np.floating], metric: Metric
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """First row of each tile, and (sampled row, row of the tile) distances up to a monotone function.

    The same bits each time: ranks are counted against distances of an earlier pass. A row is infinitely far
    from itself.
    """
    start = 0
    for block in activations:
        for at in range(0, len(block), _ROWS_AT_ONCE):
            tile = block[at : at + _ROWS_AT_ONCE].astype(np.float32, copy=False)
            squares = np.einsum("ij,ij->i", tile, tile)
            dots = rows @ tile.T
            if metric == "cosine":
                distances = -dots / np.sqrt(np.where(squares > 0, squares, 1))
            else:
                distances = squares - 2 * dots
            own = np.flatnonzero((sample >= start) & (sample < start + len(tile)))
            distances[own, sample[own] - start] = np.inf
            yield start, distances
            start += len(tile)


def nearest_rows(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    shown: NDArray[np.int64],
    metric: Metric,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """(sampled row, k) the nearest activations, and the distances of those ``shown`` as nearest."""
    near = np.zeros((len(sample), 0), np.int64)
    best = np.zeros((len(sample), 0), np.float32)
    away = np.zeros(shown.shape, np.float32)
    for start, distances in _distances(activations, sample, rows, metric):
        which, column = np.nonzero((shown >= start) & (shown < start + distances.shape[1]))
        away[which, column] = distances[which, shown[which, column] - start]
        some = np.argpartition(distances, min(k, distances.shape[1]) - 1, axis=1)[:, :k]
        best = np.concatenate([best, np.take_along_axis(distances, some, axis=1)], axis=1)
        near = np.concatenate([near, some + start], axis=1)
        if best.shape[1] > k:
            kept = np.argpartition(best, k - 1, axis=1)[:, :k]
            best = np.take_along_axis(best, kept, axis=1)
            near = np.take_along_axis(near, kept, axis=1)
    return near, away


def excess_ranks(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    away: NDArray[np.floating],
    metric: Metric,
    k: int,
) -> int:
    """By how much the ranks of layout neighbours, at distances ``away``, exceed k, over all sampled rows."""
    nearer = np.zeros(away.shape, np.int64)
    for _, distances in _distances(activations, sample, rows, metric):
        for column in range(away.shape[1]):
            nearer[:, column] += np.count_nonzero(distances < away[:, column, None], axis=1)
    return int(np.maximum(nearer + 1 - k, 0).sum())
