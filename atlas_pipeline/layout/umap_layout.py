"""UMAP by umap-learn, from neighbours computed once and a PCA start."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.pca import pca_start

# umap-learn's own: the start spans 10 and has a noise of 1e-4 that sets equal activations apart.
_START_SPAN, _START_NOISE = 10.0, 1e-4
# umap-learn's own: small layouts get more epochs.
_SMALL_ROWS, _EPOCHS_SMALL, _EPOCHS_LARGE = 10_000, 500, 200


def umap_layout(
    activations: NDArray[np.floating],
    neighbors: tuple[NDArray[np.integer], NDArray[np.floating]],
    num_neighbors: int,
    min_dist: float,
    metric: Literal["cosine", "euclidean"],
    seed: int,
    num_epochs: int | None = None,
    num_dimensions: int = 2,
) -> NDArray[np.float32]:
    """A UMAP layout, the same for the same seed whatever the number of threads.

    The two halves of umap-learn are called rather than its class, which warns about given neighbours below
    4,096 rows and about seeds. The neighbours are never searched again. One thread: umap-learn's seeded
    optimisation cannot be shared.

    Args:    activations: (activation, channel), for the start only. neighbors: indices and distances, each
             (activation, neighbour), itself first; at least ``num_neighbors`` of them, or all there are.
             num_epochs: passes over the graph; None: 500 up to 10,000 activations, 200 beyond.
             num_dimensions: 1 or 2.
    Returns: (activation, dimension), in no particular range.
    Raises:  ValueError: fewer neighbours than asked for, though there are more activations.
    Source:  McInnes, Healy and Melville 2018.
    """
    num_rows = len(activations)
    k = min(num_neighbors, num_rows)
    indices, distances = (np.ascontiguousarray(part[:, :k]) for part in neighbors)
    if indices.shape != (num_rows, k):
        raise ValueError(
            f"neighbors have shape {neighbors[0].shape}; wanted {num_rows} rows and at least {k} of each"
        )
    random_state = np.random.RandomState(np.random.PCG64(seed))
    start = _start(activations, num_dimensions, metric, random_state)
    if k < 2:
        return start
    from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

    graph, _, _ = fuzzy_simplicial_set(
        activations,
        k,
        random_state,
        metric,
        knn_indices=indices.astype(np.int32),
        knn_dists=distances.astype(np.float32),
    )
    a, b = find_ab_params(1.0, min_dist)
    layout, _ = simplicial_set_embedding(
        data=activations,
        graph=graph,
        n_components=num_dimensions,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=num_epochs or (_EPOCHS_SMALL if num_rows <= _SMALL_ROWS else _EPOCHS_LARGE),
        init=start,
        random_state=random_state,
        metric=metric,
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return layout


def _start(
    activations: NDArray[np.floating],
    num_dimensions: int,
    metric: Literal["cosine", "euclidean"],
    random_state: np.random.RandomState,
) -> NDArray[np.float32]:
    start = pca_start(activations, num_dimensions, metric)
    largest = np.abs(start).max(initial=0.0)
    if largest > 0:
        start *= _START_SPAN / largest
    return start + random_state.normal(scale=_START_NOISE, size=start.shape).astype(np.float32)
