"""Activations that a layout was not fitted on, placed by their neighbours among those that it was."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.umap_edges import Force, edges_of
from atlas_pipeline.layout.umap_layout import UmapSettings

# umap-learn's own for new points: a third of its epochs.
_EPOCHS_SMALL, _EPOCHS_LARGE, _SMALL_ROWS = 100, 30, 10_000


def placed(
    layout: NDArray[np.float32], neighbors: Neighbors, settings: UmapSettings, seed: int
) -> NDArray[np.float32]:
    """Places among the fitted activations, which stand still.

    Each starts at the mean of its neighbours' places, weighted by UMAP's membership of them, and then goes
    through a few epochs of the parallel optimisation in which they pull and all fitted ones push.

    Args:    layout: (fitted, 2). neighbors: indices into ``layout`` and distances, each (activation,
             neighbour), the nearest first.
    Returns: (activation, 2), in the range of ``layout``.
    """
    if not len(neighbors[0]):
        return np.empty((0, 2), np.float32)
    from atlas_pipeline.layout.parallel_umap import placed_among

    membership = _membership(neighbors, settings.num_neighbors, len(layout))
    total = np.asarray(membership.sum(axis=1))
    start = np.asarray(membership @ layout, dtype=np.float32) / np.maximum(total, 1e-12)
    num_epochs = _EPOCHS_SMALL if len(start) <= _SMALL_ROWS else _EPOCHS_LARGE
    force = settings.force()
    # One end alone moves, as in umap-learn's transform.
    force = Force(force.a, force.b, pull=1.0)
    return placed_among(layout, edges_of(membership, num_epochs), start, force, num_epochs, seed)


def _membership(neighbors: Neighbors, num_neighbors: int, num_fitted: int) -> scipy.sparse.csr_matrix:
    """(activation, fitted): how much each is a neighbour; at least one of each row is 1."""
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    k = min(num_neighbors, num_fitted)
    indices = np.ascontiguousarray(neighbors[0][:, :k])
    distances = np.ascontiguousarray(neighbors[1][:, :k], dtype=np.float32)
    # No neighbour is the activation itself, so none is taken for granted: umap-learn's transform.
    sigmas, rhos = smooth_knn_dist(distances, float(k), local_connectivity=0.0)
    rows, columns, values, _ = compute_membership_strengths(indices, distances, sigmas, rhos, bipartite=True)
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(len(indices), num_fitted))
