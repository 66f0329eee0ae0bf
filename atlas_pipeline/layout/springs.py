"""Springs between layouts, as in umap-learn's AlignedUMAP: they pull an image to one place in all layers.

An activation is pulled towards the positions of its image in nearby layers. The pull grows with the share of
neighbours that the two have in common and falls with the distance between the layers. AlignedUMAP applies it
after each move of an activation. Here all moves of an epoch come first, and then the springs' share of them.
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
    """AlignedUMAP's alignment_regularisation (spring strength) and alignment_window_size (spring range).

    regularisation: 0 aligns only the common start. window_size: layers on either side, at least 1.
    """

    regularisation: float
    window_size: int


@dataclass(frozen=True, slots=True)
class Spring:
    """Spring from one layer to another: the pairs of rows that belong to the same image.

    other: number of the other layer. rows, other_rows: (pair,) int64, rows in this layer and in the other.
    strength: (pair, 1) float32, weight of the other position at step 1; the own position has weight 1.
    """

    other: int
    rows: NDArray[np.int64]
    other_rows: NDArray[np.int64]
    strength: NDArray[np.float32]


def build_springs(
    ids: Sequence[NDArray[np.integer]],
    graphs: Sequence[scipy.sparse.csr_matrix],
    edges: Sequence[Edges],
    representatives: Sequence[NDArray[np.int64]],
    alignment: Alignment,
) -> list[list[Spring]]:
    """Build the springs of every layer.

    Args: ids: (image,) unique in each layer; equal ids in two layers are the same image. graphs: UMAP's graph
          of each layer. edges: the optimiser's edges of each layer. representatives: (image,) in each layer,
          the representative that holds the edges of its equals; the image itself if it equals no other.
    """
    springs: list[list[Spring]] = [[] for _ in ids]
    moves = [_moves_per_epoch(of_layer) for of_layer in edges]
    for one in range(len(ids)):
        for other in range(one + 1, min(one + alignment.window_size, len(ids) - 1) + 1):
            _, rows, other_rows = np.intersect1d(
                ids[one], ids[other], assume_unique=True, return_indices=True
            )
            representatives_here, representatives_there = (
                representatives[one][rows],
                representatives[other][other_rows],
            )
            alike = shared_neighbors(
                _relabelled(graphs[one][representatives_here][:, rows], other_rows, representatives_there),
                graphs[other][representatives_there][:, other_rows],
            )
            weight = alignment.regularisation * np.exp(one + 1 - other) * alike
            springs[one].append(
                Spring(other, rows, other_rows, _column(weight * moves[one][representatives_here]))
            )
            springs[other].append(
                Spring(one, other_rows, rows, _column(weight * moves[other][representatives_there]))
            )
    return springs


def _relabelled(
    graph: scipy.sparse.csr_matrix, other_rows: NDArray[np.int64], representatives: NDArray[np.int64]
) -> scipy.sparse.csr_matrix:
    """Graph (pair, pair) with each neighbour replaced by its representative in the other layer.

    Args: graph: (pair, pair). other_rows: (pair,) images of the other layer, in any order. representatives:
          (pair,) their representatives.
    """
    if np.array_equal(other_rows, representatives):
        return graph
    pair = np.full(max(other_rows.max(initial=-1), representatives.max(initial=-1)) + 1, -1, np.int64)
    pair[other_rows] = np.arange(len(other_rows))
    there = np.flatnonzero(pair[representatives] >= 0)
    relabelling = scipy.sparse.csr_matrix(
        (np.ones(len(there), np.float32), (there, pair[representatives[there]])), shape=(len(other_rows),) * 2
    )
    return graph @ relabelling


def shared_neighbors(one: scipy.sparse.csr_matrix, other: scipy.sparse.csr_matrix) -> NDArray[np.float64]:
    """(vertex,): share of each vertex's neighbours in either graph that are in both; 1 without neighbours."""
    first, second = one.astype(bool), other.astype(bool)
    both = np.diff(first.multiply(second).tocsr().indptr)
    either = np.diff(first.indptr) + np.diff(second.indptr) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def apply_springs(
    springs: Sequence[Sequence[Spring]], layouts: Sequence[NDArray[np.float32]], step: float
) -> None:
    """Move every activation, in place, to the weighted mean of its own position and its image's others.

    Layers are updated one after the other: if two layers moved at once, they could swap positions.
    """
    for layout, of_layer in zip(layouts, springs, strict=True):
        total, weight = layout.copy(), np.ones((len(layout), 1), np.float32)
        for spring in of_layer:
            strength = np.float32(step) * spring.strength
            total[spring.rows] += strength * layouts[spring.other][spring.other_rows]
            weight[spring.rows] += strength
        np.divide(total, weight, out=layout)


def _moves_per_epoch(edges: Edges) -> NDArray[np.float64]:
    """(vertex,): AlignedUMAP's moves of a vertex per epoch, as either end of due edges and by pushes."""
    ends = np.concatenate([[0], np.cumsum(edges.rate, dtype=np.int64)])[edges.row_start]
    return np.diff(ends) * ((2 + NUM_PUSHES) / (1 << RATE_BITS))


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values[:, None].astype(np.float32)
