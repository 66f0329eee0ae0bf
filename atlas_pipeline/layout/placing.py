"""Vertices that a layout was not fitted on, placed by their neighbours among those that it was."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.search import Neighbors


def with_the_rest(
    fitted: NDArray[np.float32], neighbors: NearVertices, num_neighbors: int
) -> NDArray[np.float32]:
    """(vertex, dimension): the fitted vertices where they are, the others placed among them.

    Args: fitted: (fitted vertex, dimension).
    """
    rest = neighbors.of_rest()
    return np.concatenate([fitted, placed(fitted, rest, num_neighbors)]) if len(rest[0]) else fitted


def placed(layout: NDArray[np.float32], neighbors: Neighbors, num_neighbors: int) -> NDArray[np.float32]:
    """Each at the mean of its neighbours' places, weighted by UMAP's membership of them.

    umap-learn goes on to optimise these places; that was measured to lower neighbour recall and
    trustworthiness (docs/layout.md), so they stay.

    Args:    layout: (fitted, 2). neighbors: indices into ``layout`` and distances, each (vertex,
             neighbour), the nearest first.
    Returns: (vertex, 2), in the range of ``layout``.
    """
    if not len(neighbors[0]):
        return np.empty((0, 2), np.float32)
    membership = _membership(neighbors, num_neighbors, len(layout))
    total = np.asarray(membership.sum(axis=1)).reshape(-1, 1)
    return np.asarray(membership @ layout, dtype=np.float32) / np.float32(total)


def _membership(neighbors: Neighbors, num_neighbors: int, num_fitted: int) -> scipy.sparse.csr_matrix:
    """(vertex, fitted): how much each is a neighbour; a row adds up to about log2 of its neighbours."""
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    k = min(num_neighbors, num_fitted)
    indices = np.ascontiguousarray(neighbors[0][:, :k])
    distances = np.ascontiguousarray(neighbors[1][:, :k], dtype=np.float32)
    # No neighbour is the activation itself, so none is taken for granted: umap-learn's transform.
    sigmas, rhos = smooth_knn_dist(distances, float(k), local_connectivity=0.0)
    rows, columns, values, _ = compute_membership_strengths(indices, distances, sigmas, rhos, bipartite=True)
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(len(indices), num_fitted))
