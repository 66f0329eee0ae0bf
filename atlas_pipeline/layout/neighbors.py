"""Nearest vertices of every vertex, by exact or approximate search; equal activations are one vertex."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import Distinct, distinct
from atlas_pipeline.layout.search import Neighbors, VectorSearch
from atlas_pipeline.numerics.blocks import Blocks, rows_in_order
from atlas_pipeline.numerics.near_rows import Metric

Method = Literal["auto", "exact", "approximate"]

# The exact search is quadratic; up to this size it takes under a minute on two cores.
EXACT_UP_TO = 65_536
# 64 x 64 times as many comparisons: a minute, if a GPU makes 3e14 of the products' operations a second.
EXACT_UP_TO_ON_GPU = 1 << 22


@dataclass(frozen=True, slots=True)
class NearVertices:
    """Neighbours among the fitted vertices.

    indices: (vertex, neighbour) int32, of fitted vertices. distances: (vertex, neighbour) float32. same: the
    vertex of each activation. search: how they were found, by name; see ``neighbors``.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]
    same: Distinct
    search: Mapping[str, Any] = field(default_factory=dict)

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
    ``auto`` is exact up to 65,536 x 65,536 comparisons, on a GPU up to 4,194,304 x 4,194,304, and approximate
    beyond. The approximate search runs on the CPU, and so does the exact one if the GPU has too little
    memory.

    Neighbours are sorted by distance, after the vertex itself. Equally distant ones are sorted by vertex
    number, which a hash decides. A vertex of zeros has cosine distance 1 to every other vertex.

    Args:    activations: (activation, channel) blocks, finite. num_neighbors: includes the vertex itself.
             fitted: rows among which neighbours are searched, ascending; None: all. seed: of the vertex order
             and of the NN-descent. advance: called with the number of rows just done, of ``num_rows``.
    Returns: ``num_neighbors`` neighbours of each vertex, or all if there are fewer. Cosine distance is
             1 - cosine. The search compares 8 candidates more than asked for. If more vertices than that are
             as far as the last neighbour, within 1e-6 of the longest vector, the lowest numbers are kept.
             ``search`` holds the method (``exact`` or ``approximate``), the device, and whether the GPU's
             memory was too small (``gpu_was_full``).
    Raises:  ValueError: activations are NaN or infinite.
    """
    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    same = distinct(activations, metric, seed, fitted)
    progress = _Progress(advance)
    on, is_full = device, False
    while True:
        how = _method(method, len(same.rows) * same.num_fitted, on)
        on = "cpu" if how == "approximate" else on
        try:
            indices, distances = _search(activations, same, num_neighbors, metric, how, seed, on, progress)
        except (RuntimeError, MemoryError) as error:
            if on == "cpu" or not is_out_of_memory(error):
                raise
            is_full = True
        else:
            break
        on = "cpu"
        progress.restart()
    advance(num_rows - len(same.rows))
    return NearVertices(indices, distances, same, {"method": how, "device": on, "gpu_was_full": is_full})


class _Progress:
    """Reports rows; after a restart it is silent until the search is as far as it had been."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance, self._done, self._reported = advance, 0, 0

    def __call__(self, num_rows: int) -> None:
        self._done += num_rows
        if self._done > self._reported:
            self._advance(self._done - self._reported)
            self._reported = self._done

    def restart(self) -> None:
        self._done = 0


def _method(method: Method, num_comparisons: int, device: str) -> Method:
    if method != "auto":
        return method
    limit = EXACT_UP_TO if device == "cpu" else EXACT_UP_TO_ON_GPU
    return "exact" if num_comparisons <= limit * limit else "approximate"


def _search(
    activations: Blocks,
    same: Distinct,
    num_neighbors: int,
    metric: Metric,
    method: Method,
    seed: int,
    device: str,
    advance: Callable[[int], None],
) -> Neighbors:
    """Indices and distances (vertex, neighbour), by one method on one device."""
    num_fitted, num_vertices = same.num_fitted, len(same.rows)
    search = VectorSearch(activations, same.rows[:num_fitted], metric, device, same.has_zeros)
    k = min(num_neighbors, num_fitted)
    descend = method == "approximate"
    candidates = search.descend(k, seed) if descend and k else None
    fitted = search.nearest(search.vectors, k, candidates, advance)
    if num_fitted == num_vertices:
        return fitted
    del candidates
    indices, distances = np.empty((num_vertices, k), np.int32), np.empty((num_vertices, k), np.float32)
    indices[:num_fitted], distances[:num_fitted] = fitted
    for places, block in rows_in_order(activations, same.rows[num_fitted:]):
        if len(block):
            asked = search.to_vectors(block)
            candidates = search.query(asked, k) if descend else None
            others = num_fitted + places
            indices[others], distances[others] = search.nearest(asked, k, candidates, advance)
    return indices, distances
