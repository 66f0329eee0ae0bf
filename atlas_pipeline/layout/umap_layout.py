"""UMAP from precomputed neighbours and a PCA start, by one of three optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import read_vectors, separate_equal
from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.layout.placing import add_unfitted
from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.umap_edges import Force, build_edges
from atlas_pipeline.layout.umap_learn import umap_learn
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.near_rows import Metric

Engine = Literal["auto", "cpu", "parallel", "gpu"]

# Above this size umap-learn, which uses one thread, takes minutes.
CPU_UP_TO = 65_536
# umap-learn's values: the start spans 10, with noise of 1e-4 that separates vertices with equal starts.
_START_SPAN, _START_NOISE = 10.0, 1e-4
# umap-learn's values: small layouts get more epochs.
_SMALL_ROWS, _EPOCHS_SMALL, _EPOCHS_LARGE = 10_000, 500, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UmapSettings:
    """Settings of a UMAP layout.

    num_epochs: passes over the graph; None: 500 up to 10,000 activations, 200 beyond. engine: ``cpu`` is
    umap-learn, whose seeded optimisation uses one thread; ``parallel`` uses all threads; ``gpu`` follows the
    same scheme on ``device``; ``auto`` is cpu up to 65,536 activations, and the scheme beyond: on the GPU if
    ``device`` is one, otherwise on all threads. So only the number of activations chooses the method.
    """

    num_neighbors: int
    min_dist: float
    metric: Metric = "cosine"
    num_epochs: int | None = None
    engine: Engine = "auto"
    device: str = "cpu"

    def engine_for(self, num_rows: int) -> Engine:
        """The optimiser for a number of activations."""
        if self.engine != "auto":
            return self.engine
        if num_rows <= CPU_UP_TO:
            return "cpu"
        return "parallel" if self.device == "cpu" else "gpu"

    def epochs_for(self, num_rows: int) -> int:
        """Passes over the graph for a number of activations."""
        return self.num_epochs or (_EPOCHS_SMALL if num_rows <= _SMALL_ROWS else _EPOCHS_LARGE)

    def force(self) -> Force:
        """UMAP's curve for ``min_dist``."""
        return Force(*map(float, umap_learn().find_ab_params(1.0, self.min_dist)))


@dataclass(frozen=True, slots=True)
class FittedLayouts:
    """Layouts of the fitted vertices, and how they were made.

    places: for each seed (fitted vertex, dimension), in any range. engine: never ``auto``. gpu_was_full:
    whether the GPU had too little memory, so that the CPU took over.
    """

    places: list[NDArray[np.float32]]
    engine: Engine
    gpu_was_full: bool = False


def umap_layouts(
    activations: Blocks,
    neighbors: NearVertices,
    settings: UmapSettings,
    seeds: Sequence[int],
    num_dimensions: int = 2,
) -> list[NDArray[np.float32]]:
    """Lay out every activation by UMAP, once per seed; unfitted ones are placed by their neighbours.

    Args:    as in ``fitted_layouts``.
    Returns: for each seed (activation, dimension), in any range; equal activations lie together.
    """
    laid = fitted_layouts(activations, neighbors, settings, seeds, num_dimensions)
    return [
        separate_equal(add_unfitted(places, neighbors, settings.num_neighbors), neighbors.same, seed)
        for places, seed in zip(laid.places, seeds, strict=True)
    ]


def fitted_layouts(
    activations: Blocks,
    neighbors: NearVertices,
    settings: UmapSettings,
    seeds: Sequence[int],
    num_dimensions: int = 2,
) -> FittedLayouts:
    """Lay out the fitted vertices by UMAP, once per seed, from one graph and one start.

    A layout does not depend on the number of threads, the order of the activations or the number of equal
    ones. The code calls the parts of umap-learn and not its class, which warns about given neighbours below
    4,096 rows and about seeds. The neighbours are not searched again.

    Where a GPU has too little memory, ``parallel`` takes over from ``auto``, and the tensors of ``gpu`` are
    the CPU's.

    Args:    activations: (activation, channel) blocks, used only for the start; the fitted vertices are held
             in memory as float32. neighbors: at least ``num_neighbors`` per vertex, or all. num_dimensions: 1
             or 2.
    Raises:  ValueError: fewer neighbours than ``num_neighbors``, though there are more vertices.
    Source:  McInnes, Healy and Melville 2018.
    """
    num_fitted, near = neighbors.same.num_fitted, neighbors.fitted()
    k = min(settings.num_neighbors, num_fitted)
    if near[0].shape[1] < k:
        raise ValueError(f"neighbors have shape {near[0].shape}; expected {num_fitted} rows of at least {k}")
    engine = settings.engine_for(num_fitted)

    def start_on(device: str) -> NDArray[np.float32]:
        vectors = read_vectors(activations, neighbors.same.rows[:num_fitted], settings.metric)
        return spread_start([vectors], num_dimensions, settings.metric, device)

    if engine != "gpu":
        start, graph = start_on("cpu"), fuzzy_graph(near, k)
        return FittedLayouts([optimise_graph(graph, start, settings, seed) for seed in seeds], engine)

    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    try:
        start = start_on(settings.device)
        return FittedLayouts(tensor_layouts(near, k, start, settings, seeds), engine)
    except (RuntimeError, MemoryError) as error:
        if settings.device == "cpu" or not is_out_of_memory(error):
            raise
    on_cpu = replace(settings, device="cpu")
    laid = fitted_layouts(activations, neighbors, on_cpu, seeds, num_dimensions)
    return replace(laid, gpu_was_full=True)


def spread_start(
    activations: Blocks, num_dimensions: int, metric: Metric, device: str = "cpu"
) -> NDArray[np.float32]:
    """Principal components (vertex, dimension), scaled to a largest magnitude of 10."""
    start = pca_start(activations, num_dimensions, metric, device)
    largest = np.abs(start).max(initial=0.0)
    return start * np.float32(_START_SPAN / largest if largest > 0 else 1.0)


def fuzzy_graph(neighbors: Neighbors, k: int) -> scipy.sparse.csr_matrix:
    """UMAP's fuzzy union of each vertex's k neighbours: (vertex, vertex), symmetric."""
    if k < 2:
        return scipy.sparse.csr_matrix((len(neighbors[0]),) * 2, dtype=np.float32)
    indices, distances = (np.ascontiguousarray(part[:, :k]) for part in neighbors)
    # The first argument only gives the number of rows; the function draws no random numbers.
    graph, _, _ = umap_learn().fuzzy_simplicial_set(
        indices, k, None, "precomputed", knn_indices=indices, knn_dists=distances.astype(np.float32)
    )
    return graph


def optimise_graph(
    graph: scipy.sparse.csr_matrix, start: NDArray[np.float32], settings: UmapSettings, seed: int
) -> NDArray[np.float32]:
    """Optimise a graph from a start on the CPU, by umap-learn or on all threads: (vertex, dimension)."""
    from atlas_pipeline.layout.parallel_umap import parallel_layout

    random_state = _random_state(seed)
    noisy = with_noise(start, random_state)
    if not graph.nnz:
        return noisy
    if settings.engine_for(len(start)) == "cpu":
        return _by_umap_learn(graph, noisy, settings, random_state)
    num_epochs = settings.epochs_for(len(start))
    edges = build_edges(graph, num_epochs)
    layout = parallel_layout(edges, _in_plane(noisy), settings.force(), num_epochs, seed)
    return layout[:, : start.shape[1]]


def tensor_layouts(
    neighbors: Neighbors, k: int, start: NDArray[np.float32], settings: UmapSettings, seeds: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Optimise the graph of the vertices' k neighbours on a device, all seeds together if they fit in it.

    Returns: for each seed (vertex, dimension).
    """
    from atlas_pipeline.layout.gpu_umap import gpu_layouts
    from atlas_pipeline.layout.tensor_graph import fuzzy_edges
    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    num_epochs, force = settings.epochs_for(len(start)), settings.force()
    noisy = [with_noise(start, _random_state(seed)) for seed in seeds]
    edges = fuzzy_edges(neighbors, k, num_epochs, settings.device)
    if not len(edges.neighbor):
        return noisy
    planes = [_in_plane(of_seed) for of_seed in noisy]
    layouts: list[NDArray[np.float32]] = []
    try:
        layouts = gpu_layouts(edges, planes, force, num_epochs, seeds)
    except (RuntimeError, MemoryError) as error:
        if len(seeds) == 1 or not is_out_of_memory(error):
            raise
    if not layouts:
        for plane, seed in zip(planes, seeds, strict=True):
            layouts += gpu_layouts(edges, [plane], force, num_epochs, [seed])
    return [layout[:, : start.shape[1]] for layout in layouts]


def _random_state(seed: int) -> np.random.RandomState:
    return np.random.RandomState(np.random.PCG64(seed))


def _in_plane(start: NDArray[np.float32]) -> NDArray[np.float32]:
    """The start of the scheme, (vertex, 2); a one-dimensional layout has a second axis that stays 0."""
    plane = np.zeros((len(start), 2), np.float32)
    plane[:, : start.shape[1]] = scaled_to_span(start)
    return plane


def with_noise(start: NDArray[np.float32], random_state: np.random.RandomState) -> NDArray[np.float32]:
    """Add umap-learn's noise of 1e-4, which separates vertices with equal starts: (vertex, dimension)."""
    return start + random_state.normal(scale=_START_NOISE, size=start.shape).astype(np.float32)


def scaled_to_span(start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale every axis to [0, 10], as umap-learn does with its start: (vertex, dimension)."""
    spread = np.ptp(start, axis=0)
    return _START_SPAN * (start - start.min(axis=0)) / np.where(spread > 0, spread, np.float32(1))


def _by_umap_learn(
    graph: scipy.sparse.csr_matrix,
    start: NDArray[np.float32],
    settings: UmapSettings,
    random_state: np.random.RandomState,
) -> NDArray[np.float32]:
    force = settings.force()
    layout, _ = umap_learn().simplicial_set_embedding(
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
