"""The nearest vertices of every vertex, exactly or approximately; equal activations are one vertex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import Distinct, distinct
from atlas_pipeline.layout.search import Neighbors, VectorSearch
from atlas_pipeline.numerics.blocks import Blocks, in_order
from atlas_pipeline.numerics.near_rows import Metric

Method = Literal["auto", "exact", "approximate"]

# The exact search is quadratic: up to here it takes under a minute on two cores.
EXACT_UP_TO = 65_536


@dataclass(frozen=True, slots=True)
class NearVertices:
    """Neighbours among the fitted vertices.

    indices: (vertex, neighbour) int32, fitted vertices. distances: (vertex, neighbour) float32. same: which
    vertex an activation is.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]
    same: Distinct

    def of_fitted(self) -> Neighbors:
        """The rows of the fitted vertices; each is its own first neighbour."""
        return self.indices[: self.same.num_fitted], self.distances[: self.same.num_fitted]

    def of_rest(self) -> Neighbors:
        """The rows of the others."""
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
    """The nearest vertices of each, itself first; or the nearest of the fitted ones.

    Equal activations are one vertex (``distinct``): however many they are, they take one place among the
    neighbours of another.

    The exact search compares all with all, tile by tile, and is deterministic. The approximate one descends
    (pynndescent; Dong, Moses and Li 2011): a few in 10,000 neighbours are missed, and on another number of
    threads about 1 row in 30,000 comes out differently; rows that the descent leaves incomplete are searched
    exactly. ``auto`` is exact up to 65,536 x 65,536 comparisons and approximate beyond: by their number
    alone, so that the machine does not decide what comes out.

    A vertex comes first among its own neighbours, then the others by distance; the order of equally distant
    ones is that of their numbers, which a hash decides. Zeros and another vertex have cosine distance 1.

    Args:    activations: (activation, channel) blocks, finite. num_neighbors: itself included. fitted: rows
             among which neighbours are searched, ascending; None: all. seed: of the vertices' order and of
             the descent. advance: told the number done, of ``num_rows``.
    Returns: as many neighbours as there are where those are fewer. Cosine distance is 1 - cosine. Where more
             vertices than are compared (8 more than asked for) are as far as the last neighbour to within
             1e-6, relative to the longest vector, those of lowest number are kept.
    Raises:  ValueError: NaN or infinite activations.
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
        _find_the_rest(search, found, activations, k, descend, advance)
    advance(num_rows - num_vertices)
    return found


def _find_the_rest(
    search: VectorSearch,
    found: NearVertices,
    activations: Blocks,
    k: int,
    descend: bool,
    advance: Callable[[int], None],
) -> None:
    """Neighbours, among the fitted vertices, of those that are not; into ``found``."""
    num_fitted = found.same.num_fitted
    for places, block in in_order(activations, found.same.rows[num_fitted:]):
        for start in range(0, len(block), search.tile):
            asked = search.vectors_of(block[start : start + search.tile])
            candidates = search.query(asked, k) if descend else None
            others = num_fitted + places[start : start + len(asked)]
            _store(found, others, search.nearest(asked, k, None, candidates))
            advance(len(asked))


def _store(found: NearVertices, vertices: NDArray[np.int64], nearest: Neighbors) -> None:
    found.indices[vertices], found.distances[vertices] = nearest
