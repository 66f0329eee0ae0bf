"""Nearest vertices of every vertex, by exact or approximate search; equal activations are one vertex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import Distinct, distinct
from atlas_pipeline.layout.search import Neighbors, VectorSearch
from atlas_pipeline.numerics.blocks import Blocks, rows_in_order
from atlas_pipeline.numerics.near_rows import Metric

Method = Literal["auto", "exact", "approximate"]

# The exact search is quadratic; up to this size it takes under a minute on two cores.
EXACT_UP_TO = 65_536


@dataclass(frozen=True, slots=True)
class NearVertices:
    """Neighbours among the fitted vertices.

    indices: (vertex, neighbour) int32, of fitted vertices. distances: (vertex, neighbour) float32. same: the
    vertex of each activation.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]
    same: Distinct

    def fitted(self) -> Neighbors:
        """Rows of the fitted vertices; each vertex is its own first neighbour."""
        return self.indices[: self.same.num_fitted], self.distances[: self.same.num_fitted]

    def unfitted(self) -> Neighbors:
        """Rows of the vertices that are not fitted."""
        return self.indices[self.same.num_fitted :], self.distances[self.same.num_fitted :]


def neighbors(
    activations: Blocks,
    num_rows: int,
    num_neighbors: int,
    *,
    fitted: NDArray[np.int64] | None = None,
    metric: Metric = "cosine",
    method: Method = "auto",
    seed: int = 0,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda _: None,
) -> NearVertices:
    """Find the nearest fitted vertices of every vertex; a fitted vertex comes first among its own.

    Equal activations are one vertex (``distinct``): together they take one place among the neighbours of
    another vertex.

    The exact search compares all pairs, tile by tile, and is deterministic. The approximate search is
    NN-descent (pynndescent; Dong, Moses and Li 2011). It misses a few of 10,000 neighbours, and about 1 row
    in 30,000 changes with the number of threads. Rows that it leaves incomplete are searched exactly.
    ``auto`` is exact up to 65,536 x 65,536 comparisons and approximate beyond. It depends only on this
    number, so that every machine gives the same result.

    Neighbours are sorted by distance, after the vertex itself. Equally distant ones are sorted by vertex
    number, which a hash decides. A vertex of zeros has cosine distance 1 to every other vertex.

    Args:    activations: (activation, channel) blocks, finite. num_neighbors: includes the vertex itself.
             fitted: rows among which neighbours are searched, ascending; None: all. seed: of the vertex order
             and of the NN-descent. advance: called with the number of rows just done, of ``num_rows``.
    Returns: ``num_neighbors`` neighbours of each vertex, or all if there are fewer. Cosine distance is
             1 - cosine. The search compares 8 candidates more than asked for. If more vertices than that are
             as far as the last neighbour, within 1e-6 of the longest vector, the lowest numbers are kept.
    Raises:  ValueError: activations are NaN or infinite.
    """
    same = distinct(activations, metric, seed, fitted)
    num_vertices, num_fitted = len(same.rows), same.num_fitted
    search = VectorSearch(activations, same.rows[:num_fitted], metric, device, same.has_zeros)
    k = min(num_neighbors, num_fitted)
    descend = method == "approximate" or (
        method == "auto" and num_vertices * num_fitted > EXACT_UP_TO * EXACT_UP_TO
    )
    near = search.descend(k, seed) if descend and k else None
    found = NearVertices(np.empty((num_vertices, k), np.int32), np.empty((num_vertices, k), np.float32), same)
    for start in range(0, num_fitted, search.tile):
        own = np.arange(start, min(start + search.tile, num_fitted))
        candidates = None if near is None else near[own]
        _store(found, own, search.nearest(search.vectors[own[0] : own[-1] + 1], k, own, candidates))
        advance(len(own))
    if num_fitted < num_vertices:
        del near
        _find_unfitted(search, found, activations, k, descend, advance)
    advance(num_rows - num_vertices)
    return found


def _find_unfitted(
    search: VectorSearch,
    found: NearVertices,
    activations: Blocks,
    k: int,
    descend: bool,
    advance: Callable[[int], None],
) -> None:
    """Find the fitted neighbours of the vertices that are not fitted, and write them into ``found``."""
    num_fitted = found.same.num_fitted
    for places, block in rows_in_order(activations, found.same.rows[num_fitted:]):
        for start in range(0, len(block), search.tile):
            asked = search.to_vectors(block[start : start + search.tile])
            candidates = search.query(asked, k) if descend else None
            others = num_fitted + places[start : start + len(asked)]
            _store(found, others, search.nearest(asked, k, None, candidates))
            advance(len(asked))


def _store(found: NearVertices, vertices: NDArray[np.int64], nearest: Neighbors) -> None:
    found.indices[vertices], found.distances[vertices] = nearest
