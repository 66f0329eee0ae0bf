"""Nearest neighbours of sampled rows, in a layout and among the activations, and how their ranks differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atlas_pipeline.numerics.blocks import Blocks

Metric = Literal["cosine", "euclidean"]

_ROWS_AT_ONCE = 4096


def nearest_in_layout(layout: NDArray[np.floating], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest rows in the layout of each sampled row, without itself: (row, k)."""
    # Unbalanced: with many equal points, building a balanced tree is quadratic.
    tree = cKDTree(layout, balanced_tree=False, compact_nodes=False)
    near = tree.query(layout[rows], k + 1)[1]
    own = near == rows[:, None]
    # A row with many copies may not be among its own neighbours; then drop the farthest.
    own[~own.any(axis=1), k] = True
    return near[~own].reshape(len(rows), k)


def _distances(
    activations: Blocks, sample: NDArray[np.int64], rows: NDArray[np.floating], metric: Metric
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """First row of each tile, and distances (sampled row, row of the tile) up to a monotone function.

    Every pass gives bitwise equal distances, because ranks compare them with those of an earlier pass. The
    distance of a row to itself is infinite.
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


def compare(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    shown: NDArray[np.int64],
    metric: Metric,
    k: int,
) -> tuple[NDArray[np.int64], int]:
    """The nearest activations of each sampled row (row, k), and the ``excess_ranks`` over all sampled rows.

    Args: sample: (row,) of the activations, ascending. rows: (row, channel), these activations. shown: (row,
          k), their nearest in the layout.
    """
    near, shown_distances = nearest_rows(activations, sample, rows, shown, metric, k)
    return near, excess_ranks(activations, sample, rows, shown_distances, metric, k)


def nearest_rows(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    shown: NDArray[np.int64],
    metric: Metric,
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The nearest activations (sampled row, k), and the distances of the layout neighbours ``shown``."""
    near = np.zeros((len(sample), 0), np.int64)
    best = np.zeros((len(sample), 0), np.float32)
    shown_distances = np.zeros(shown.shape, np.float32)
    for start, distances in _distances(activations, sample, rows, metric):
        which, column = np.nonzero((shown >= start) & (shown < start + distances.shape[1]))
        shown_distances[which, column] = distances[which, shown[which, column] - start]
        candidates = np.argpartition(distances, min(k, distances.shape[1]) - 1, axis=1)[:, :k]
        best = np.concatenate([best, np.take_along_axis(distances, candidates, axis=1)], axis=1)
        near = np.concatenate([near, candidates + start], axis=1)
        if best.shape[1] > k:
            kept = np.argpartition(best, k - 1, axis=1)[:, :k]
            best = np.take_along_axis(best, kept, axis=1)
            near = np.take_along_axis(near, kept, axis=1)
    return near, shown_distances


def excess_ranks(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    shown_distances: NDArray[np.floating],
    metric: Metric,
    k: int,
) -> int:
    """Sum, over all sampled rows, of how far the ranks of their layout neighbours exceed k.

    shown_distances: (sampled row, k) distances of the layout neighbours, from ``nearest_rows``.
    """
    nearer = np.zeros(shown_distances.shape, np.int64)
    for _, distances in _distances(activations, sample, rows, metric):
        for column in range(shown_distances.shape[1]):
            nearer[:, column] += np.count_nonzero(distances < shown_distances[:, column, None], axis=1)
    return int(np.maximum(nearer + 1 - k, 0).sum())
