"""Places vertices that a layout was not fitted on at the mean of their fitted neighbours."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.umap_learn import umap_learn


def add_unfitted(
    fitted: NDArray[np.float32], neighbors: NearVertices, num_neighbors: int
) -> NDArray[np.float32]:
    """Add the vertices that were not fitted to a layout; fitted vertices keep their positions.

    Args:    fitted: (fitted vertex, dimension).
    Returns: (vertex, dimension), fitted vertices first.
    """
    rest = neighbors.unfitted()
    return np.concatenate([fitted, place_unfitted(fitted, rest, num_neighbors)]) if len(rest[0]) else fitted


def place_unfitted(
    layout: NDArray[np.float32], neighbors: Neighbors, num_neighbors: int
) -> NDArray[np.float32]:
    """Place each vertex at the mean position of its neighbours, weighted by UMAP's membership strengths.

    umap-learn optimises these positions further. Measurements showed that this lowers neighbour recall and
    trustworthiness (docs/layout.md), so this function does not.

    Args:    layout: (fitted, 2). neighbors: indices into ``layout`` and distances, each (vertex, neighbour),
             sorted by distance.
    Returns: (vertex, 2), in the range of ``layout``.
    """
    if not len(neighbors[0]):
        return np.empty((0, 2), np.float32)
    membership = _membership(neighbors, num_neighbors, len(layout))
    total = np.asarray(membership.sum(axis=1)).reshape(-1, 1)
    return np.asarray(membership @ layout, dtype=np.float32) / np.float32(total)


def _membership(neighbors: Neighbors, num_neighbors: int, num_fitted: int) -> scipy.sparse.csr_matrix:
    """(vertex, fitted) membership strengths; a row sums to about log2 of the number of neighbours."""
    umap = umap_learn()
    k = min(num_neighbors, num_fitted)
    indices = np.ascontiguousarray(neighbors[0][:, :k])
    distances = np.ascontiguousarray(neighbors[1][:, :k], dtype=np.float32)
    # The vertex is not among its own neighbours, so local_connectivity is 0, as in umap-learn's transform.
    sigmas, rhos = umap.smooth_knn_dist(distances, float(k), local_connectivity=0.0)
    rows, columns, values, _ = umap.compute_membership_strengths(
        indices, distances, sigmas, rhos, bipartite=True
    )
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(len(indices), num_fitted))
