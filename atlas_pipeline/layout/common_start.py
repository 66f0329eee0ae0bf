"""One start for several layers: the same image begins at the same place in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.pca import pca_start
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.near_rows import Metric

# Of each layer; the two that all layers have in common lie among so many.
_NUM_COMPONENTS = 8


def common_start(
    activations: Sequence[Blocks],
    ids: Sequence[NDArray[np.integer]],
    images: Sequence[NDArray[np.integer]],
    graphs: Sequence[scipy.sparse.csr_matrix],
    heads: Sequence[NDArray[np.int64]],
    metric: Metric,
) -> list[NDArray[np.float32]]:
    """The principal components of all layers' principal components, every layer of the same weight.

    Images that are not in all layers start at the mean of their neighbours that are, weighted by the graph.

    Args:    activations: by layer, (activation, channel) blocks. ids: (activation,) of the same. images: the
             same ids in the order of the graphs. graphs, heads: as for ``springs_of``.
    Returns: by layer (image, 2) in the order of the graphs, equal where the ids are, in no particular range.
    Raises:  ValueError: no image is in all layers.
    """
    shared = reduce(np.intersect1d, ids)
    if not len(shared):
        raise ValueError("no image is in all layers: there is nothing to align them by")
    components = [
        _of_weight_one(pca_start(blocks, _NUM_COMPONENTS, metric)[_places(of_layer, shared)])
        for blocks, of_layer in zip(activations, ids, strict=True)
    ]
    start = pca_start([np.concatenate(components, axis=1)], 2)
    return [
        _spread_to_all(start, _places(of_layer, shared), graph, head)
        for of_layer, graph, head in zip(images, graphs, heads, strict=True)
    ]


def _places(ids: NDArray[np.integer], wanted: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where in ``ids`` those wanted stand."""
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, wanted, sorter=order)]


def _of_weight_one(components: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = components - components.mean(axis=0)
    size = np.linalg.norm(centred)
    return centred / (size if size > 0 else np.float32(1))


def _spread_to_all(
    start: NDArray[np.float32],
    rows: NDArray[np.int64],
    graph: scipy.sparse.csr_matrix,
    head: NDArray[np.int64],
) -> NDArray[np.float32]:
    to_shared = graph[:, rows]
    total = np.asarray(to_shared.sum(axis=1)).reshape(-1, 1)
    everywhere = np.asarray(to_shared @ start, np.float32) / np.where(total > 0, total, 1)
    everywhere = everywhere[head]
    everywhere[rows] = start
    return everywhere.astype(np.float32)
