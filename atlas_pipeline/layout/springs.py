"""What holds the same image together in several layouts: the springs of umap-learn's AlignedUMAP.

An activation is pulled towards the places of the same image in the layers near its own, the more the more
neighbours the two have in common, the less the further apart the layers are. AlignedUMAP does so after each
of an activation's moves; here all moves of an epoch are made first, and then the springs' share of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.umap_edges import NUM_PUSHES, RATE_BITS, Edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """AlignedUMAP's alignment_regularisation (the springs' strength) and alignment_window_size (their reach).

    regularisation: 0 leaves the common start alone. window_size: layers to either side, at least 1.
    """

    regularisation: float
    window_size: int


@dataclass(frozen=True, slots=True)
class Spring:
    """From one layer to another: the pairs of their rows that show the same image.

    rows, twins: (pair,) int64, in the one and in the other. strength: (pair, 1) float32, the other's weight
    against the own place's 1, at a step of 1.
    """

    other: int
    rows: NDArray[np.int64]
    twins: NDArray[np.int64]
    strength: NDArray[np.float32]


def springs_of(
    ids: Sequence[NDArray[np.integer]],
    graphs: Sequence[scipy.sparse.csr_matrix],
    edges: Sequence[Edges],
    heads: Sequence[NDArray[np.int64]],
    alignment: Alignment,
) -> list[list[Spring]]:
    """The springs of every layer.

    Args: ids: by layer (image,), each once; what is equal in two layers is the same image. graphs: by
          layer, UMAP's. edges: the same as the optimiser has them. heads: by layer (image,), the one of its
          equals that has their edges; itself where it is like no other.
    """
    springs: list[list[Spring]] = [[] for _ in ids]
    moves = [_moves(of_layer) for of_layer in edges]
    for one in range(len(ids)):
        for other in range(one + 1, min(one + alignment.window_size, len(ids) - 1) + 1):
            _, rows, twins = np.intersect1d(ids[one], ids[other], assume_unique=True, return_indices=True)
            heads_of_rows, heads_of_twins = heads[one][rows], heads[other][twins]
            alike = shared_neighbors(
                _renamed(graphs[one][heads_of_rows][:, rows], twins, heads_of_twins),
                graphs[other][heads_of_twins][:, twins],
            )
            weight = alignment.regularisation * np.exp(one + 1 - other) * alike
            springs[one].append(Spring(other, rows, twins, _column(weight * moves[one][heads_of_rows])))
            springs[other].append(Spring(one, twins, rows, _column(weight * moves[other][heads_of_twins])))
    return springs


def _renamed(
    graph: scipy.sparse.csr_matrix, twins: NDArray[np.int64], heads: NDArray[np.int64]
) -> scipy.sparse.csr_matrix:
    """(pair, pair): neighbours in one layer called by the head of their twin in the other.

    Args: graph: (pair, pair). twins: (pair,) the images of the other layer, ascending or not. heads: theirs.
    """
    if np.array_equal(twins, heads):
        return graph
    pair = np.full(max(twins.max(initial=-1), heads.max(initial=-1)) + 1, -1, np.int64)
    pair[twins] = np.arange(len(twins))
    there = np.flatnonzero(pair[heads] >= 0)
    names = scipy.sparse.csr_matrix(
        (np.ones(len(there), np.float32), (there, pair[heads[there]])), shape=(len(twins),) * 2
    )
    return graph @ names


def shared_neighbors(one: scipy.sparse.csr_matrix, other: scipy.sparse.csr_matrix) -> NDArray[np.float64]:
    """(vertex,): of each vertex's neighbours in either graph the share that it has in both; 1 without any."""
    first, second = one.astype(bool), other.astype(bool)
    both = np.diff(first.multiply(second).tocsr().indptr)
    either = np.diff(first.indptr) + np.diff(second.indptr) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def pull_together(
    springs: Sequence[Sequence[Spring]], layouts: Sequence[NDArray[np.float32]], step: float
) -> None:
    """Move every activation towards the same image's places, in place: to the weighted mean of all.

    Layer after layer, each sees where the others are now: two that moved at once would change places.
    """
    for layout, of_layer in zip(layouts, springs, strict=True):
        total, weight = layout.copy(), np.ones((len(layout), 1), np.float32)
        for spring in of_layer:
            strength = np.float32(step) * spring.strength
            total[spring.rows] += strength * layouts[spring.other][spring.twins]
            weight[spring.rows] += strength
        np.divide(total, weight, out=layout)


def _moves(edges: Edges) -> NDArray[np.float64]:
    """(vertex,): how often AlignedUMAP moves it in an epoch: as either end of due edges, and by pushes."""
    ends = np.concatenate([[0], np.cumsum(edges.rate, dtype=np.int64)])[edges.row_start]
    return np.diff(ends) * ((2 + NUM_PUSHES) / (1 << RATE_BITS))


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values[:, None].astype(np.float32)
