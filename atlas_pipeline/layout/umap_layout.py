"""UMAP from neighbours computed once and a PCA start, by one of three optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import spread, vectors_of
from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.layout.placing import with_the_rest
from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.umap_edges import Force, edges_of
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.near_rows import Metric

Engine = Literal["auto", "cpu", "parallel", "gpu"]

# Beyond this umap-learn's one thread takes minutes.
CPU_UP_TO = 65_536
# umap-learn's own: the start spans 10 and has a noise of 1e-4 that sets apart what starts at one place.
_START_SPAN, _START_NOISE = 10.0, 1e-4
# umap-learn's own: small layouts get more epochs.
_SMALL_ROWS, _EPOCHS_SMALL, _EPOCHS_LARGE = 10_000, 500, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UmapSettings:
    """num_epochs: passes over the graph; None: 500 up to 10,000 activations, 200 beyond.

    engine: ``cpu`` is umap-learn, whose seeded optimisation takes one thread; ``parallel`` all of them;
    ``gpu`` a device; ``auto`` is cpu up to 65,536 activations and parallel beyond: by their number alone, so
    that the machine does not decide what comes out. device: gpu's.
    """

    num_neighbors: int
    min_dist: float
    metric: Metric = "cosine"
    num_epochs: int | None = None
    engine: Engine = "auto"
    device: str = "cpu"

    def engine_for(self, num_rows: int) -> Engine:
        """The optimiser of so many activations."""
        if self.engine != "auto":
            return self.engine
        return "cpu" if num_rows <= CPU_UP_TO else "parallel"

    def epochs_for(self, num_rows: int) -> int:
        """The passes over the graph of so many activations."""
        return self.num_epochs or (_EPOCHS_SMALL if num_rows <= _SMALL_ROWS else _EPOCHS_LARGE)

    def force(self) -> Force:
        """UMAP's curve for this distance."""
        from umap.umap_ import find_ab_params

        return Force(*map(float, find_ab_params(1.0, self.min_dist)))


def umap_layouts(
    activations: Blocks,
    neighbors: NearVertices,
    settings: UmapSettings,
    seeds: Sequence[int],
    num_dimensions: int = 2,
) -> list[NDArray[np.float32]]:
    """A UMAP layout a seed, of every activation: those that are not fitted placed, equal ones together.

    Args:    as for ``fitted_layouts``.
    Returns: for each seed (activation, dimension), in no particular range.
    """
    laid = fitted_layouts(activations, neighbors, settings, seeds, num_dimensions)
    return [
        spread(with_the_rest(layout, neighbors, settings.num_neighbors), neighbors.same, seed)
        for layout, seed in zip(laid, seeds, strict=True)
    ]


def fitted_layouts(
    activations: Blocks,
    neighbors: NearVertices,
    settings: UmapSettings,
    seeds: Sequence[int],
    num_dimensions: int = 2,
) -> list[NDArray[np.float32]]:
    """A UMAP layout of the fitted vertices a seed, of one graph and one start.

    Each is the same whatever the number of threads and the order of the activations, and however many of
    them are equal. The halves of umap-learn are called rather than its class, which warns about given
    neighbours below 4,096 rows and about seeds. The neighbours are never searched again.

    Args:    activations: (activation, channel) blocks, for the start only: of it the fitted vertices are held
             as float32. neighbors: at least as many as asked for, or all there are. num_dimensions: 1 or 2.
    Returns: for each seed (fitted vertex, dimension), in no particular range.
    Raises:  ValueError: fewer neighbours than asked for, though there are more vertices.
    Source:  McInnes, Healy and Melville 2018.
    """
    num_fitted, near = neighbors.same.num_fitted, neighbors.of_fitted()
    k = min(settings.num_neighbors, num_fitted)
    if near[0].shape[1] < k:
        raise ValueError(
            f"neighbors have shape {near[0].shape}; wanted {num_fitted} rows and at least {k} of each"
        )
    start = spread_start(
        [vectors_of(activations, neighbors.same.rows[:num_fitted], settings.metric)],
        num_dimensions,
        settings.metric,
    )
    graph = fuzzy_graph(near, k)
    return [optimised(graph, start, settings, seed) for seed in seeds]


def spread_start(activations: Blocks, num_dimensions: int, metric: Metric) -> NDArray[np.float32]:
    """(vertex, dimension) principal components, the largest value 10."""
    start = pca_start(activations, num_dimensions, metric)
    largest = np.abs(start).max(initial=0.0)
    return start * np.float32(_START_SPAN / largest if largest > 0 else 1.0)


def fuzzy_graph(neighbors: Neighbors, k: int) -> scipy.sparse.csr_matrix:
    """(vertex, vertex) symmetric: UMAP's fuzzy union of each one's k neighbours."""
    if k < 2:
        return scipy.sparse.csr_matrix((len(neighbors[0]),) * 2, dtype=np.float32)
    from umap.umap_ import fuzzy_simplicial_set

    indices, distances = (np.ascontiguousarray(part[:, :k]) for part in neighbors)
    # Of its first argument it looks at the number of rows alone; it draws nothing.
    graph, _, _ = fuzzy_simplicial_set(
        indices, k, None, "precomputed", knn_indices=indices, knn_dists=distances.astype(np.float32)
    )
    return graph


def optimised(
    graph: scipy.sparse.csr_matrix, start: NDArray[np.float32], settings: UmapSettings, seed: int
) -> NDArray[np.float32]:
    """(vertex, dimension): the layout of a graph from a start, by the settings' engine."""
    random_state = np.random.RandomState(np.random.PCG64(seed))
    noisy = with_noise(start, random_state)
    if not graph.nnz:
        return noisy
    if settings.engine_for(len(start)) == "cpu":
        return _by_umap_learn(graph, noisy, settings, random_state)
    return _at_once(graph, noisy, settings, seed)


def with_noise(start: NDArray[np.float32], random_state: np.random.RandomState) -> NDArray[np.float32]:
    """(vertex, dimension): what starts at one place set apart, by umap-learn's own 1e-4."""
    return start + random_state.normal(scale=_START_NOISE, size=start.shape).astype(np.float32)


def spanned(start: NDArray[np.float32]) -> NDArray[np.float32]:
    """(vertex, dimension): every axis over [0, 10], as umap-learn spreads its start."""
    spread = np.ptp(start, axis=0)
    return _START_SPAN * (start - start.min(axis=0)) / np.where(spread > 0, spread, np.float32(1))


def _by_umap_learn(
    graph: scipy.sparse.csr_matrix,
    start: NDArray[np.float32],
    settings: UmapSettings,
    random_state: np.random.RandomState,
) -> NDArray[np.float32]:
    from umap.umap_ import simplicial_set_embedding

    force = settings.force()
    layout, _ = simplicial_set_embedding(
        data=start,
        graph=graph,
        n_components=start.shape[1],
        initial_alpha=1.0,
        a=force.a,
        b=force.b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=settings.epochs_for(len(start)),
        init=start,
        random_state=random_state,
        metric=settings.metric,
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return layout


def _at_once(
    graph: scipy.sparse.csr_matrix, start: NDArray[np.float32], settings: UmapSettings, seed: int
) -> NDArray[np.float32]:
    num_rows, num_dimensions = start.shape
    num_epochs = settings.epochs_for(num_rows)
    # A second axis of zeros stays one.
    plane = np.zeros((num_rows, 2), np.float32)
    plane[:, :num_dimensions] = spanned(start)
    edges, force = edges_of(graph, num_epochs), settings.force()
    if settings.engine == "gpu":
        from atlas_pipeline.layout.gpu_umap import gpu_layout

        layout = gpu_layout(edges, plane, force, num_epochs, seed, settings.device)
    else:
        from atlas_pipeline.layout.parallel_umap import parallel_layout

        layout = parallel_layout(edges, plane, force, num_epochs, seed)
    return layout[:, :num_dimensions]
