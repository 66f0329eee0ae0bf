"""A shared start for several layers: an image begins at the same position in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.near_rows import Metric

# Components kept per layer; the two directions that the layers share are found among them.
_NUM_COMPONENTS = 8


def common_start(
    activations: Sequence[Blocks],
    ids: Sequence[NDArray[np.integer]],
    images: Sequence[NDArray[np.integer]],
    graphs: Sequence[scipy.sparse.csr_matrix],
    representatives: Sequence[NDArray[np.int64]],
    metric: Metric,
) -> list[NDArray[np.float32]]:
    """Principal components of the layers' concatenated principal components, each layer with equal weight.

    An image that is missing in some layer starts at the graph-weighted mean of its neighbours that are in
    all.

    Args:    activations: (activation, channel) blocks of each layer. ids: (activation,) of each layer.
             images: the same ids, in the order of the graphs. graphs, representatives: as in
             ``build_springs``.
    Returns: (image, 2) for each layer, in the order of the graphs; equal for equal ids; any range.
    Raises:  ValueError: no image is in all layers.
    """
    shared = reduce(np.intersect1d, ids)
    if not len(shared):
        raise ValueError("no image is in all layers; align layers that share images")
    components = [
        _unit_weight(pca_start(blocks, _NUM_COMPONENTS, metric)[_positions_of(of_layer, shared)])
        for blocks, of_layer in zip(activations, ids, strict=True)
    ]
    start = pca_start([np.concatenate(components, axis=1)], 2)
    return [
        _spread_to_all(start, _positions_of(of_layer, shared), graph, representative)
        for of_layer, graph, representative in zip(images, graphs, representatives, strict=True)
    ]


def _positions_of(ids: NDArray[np.integer], wanted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Positions in ``ids`` of the wanted ids."""
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _unit_weight(components: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = components - components.mean(axis=0)
    size = np.linalg.norm(centred)
    return centred / (size if size > 0 else np.float32(1))


def _spread_to_all(
    start: NDArray[np.float32],
    rows: NDArray[np.int64],
    graph: scipy.sparse.csr_matrix,
    representative: NDArray[np.int64],
) -> NDArray[np.float32]:
    to_shared = graph[:, rows]
    total = np.asarray(to_shared.sum(axis=1)).reshape(-1, 1)
    everywhere = np.asarray(to_shared @ start, np.float32) / np.where(total > 0, total, 1)
    everywhere = everywhere[representative]
    everywhere[rows] = start
    return everywhere.astype(np.float32)
