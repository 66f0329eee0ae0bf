"""One UMAP of several layers over the same images: an image keeps its place where the layers agree.

Every image has the same number in all layers, so that the same random vertices repel it in each. The order of
the numbers is random. Equal activations of a layer move together: the first of them, their representative,
holds the edges of their vertex, and all are placed at the mean of the positions that the springs give them.

All layers share a start (``common_start``). They are optimised in parallel, epoch by epoch (``umap_edges``),
and are pulled together between epochs (``springs``). The layers may also come from several checkpoints or
several networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from atlas_pipeline.layout.common_start import common_start
from atlas_pipeline.layout.distinct import Distinct
from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.parallel_umap import parallel_layouts
from atlas_pipeline.layout.springs import Alignment, apply_springs, build_springs
from atlas_pipeline.layout.umap_edges import build_edges
from atlas_pipeline.layout.umap_layout import UmapSettings, fuzzy_graph, scaled_to_span, with_noise
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.random_keys import random_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedLayer:
    """One layer of an aligned layout.

    activations: (activation, channel) blocks, used only for the start. neighbors: of these activations, with
    every activation fitted. ids: (activation,) unique integers, at least 0. Activations of different layers
    with equal ids belong to the same image.
    """

    activations: Blocks
    neighbors: NearVertices
    ids: NDArray[np.integer]


def aligned_layouts(
    layers: Sequence[AlignedLayer], settings: UmapSettings, alignment: Alignment, seeds: Sequence[int]
) -> list[list[NDArray[np.float32]]]:
    """Lay out all layers together, once per seed, from the same graphs and the same start.

    Args:    layers: at least two, ordered so that neighbouring layers are similar. settings: the engine is
             ignored; the optimiser is always the parallel one.
    Returns: for each seed and each layer (activation, 2). All layers share one range, and equal activations
             share one position. The result is bitwise the same for any number of threads.
    Raises:  ValueError: ids are not unique or do not match the activations, or no id is in all layers.
    Source:  the alignment follows umap-learn's AlignedUMAP; see ``springs``.
    """
    for number, layer in enumerate(layers):
        num_rows = len(layer.neighbors.same.vertex)
        if len(np.unique(layer.ids)) != num_rows or len(layer.ids) != num_rows:
            raise ValueError(f"layer {number}: every one of its activations needs an id of its own")
    orders = [np.argsort(random_keys(layer.ids, seeds[0])) for layer in layers]
    ids = [layer.ids[order] for layer, order in zip(layers, orders, strict=True)]
    representatives = [
        _representatives(layer.neighbors.same, order) for layer, order in zip(layers, orders, strict=True)
    ]
    graphs = [
        _graph_of_images(fuzzy_graph(near, min(settings.num_neighbors, len(near[0]))), *pair)
        for near, pair in zip((layer.neighbors.fitted() for layer in layers), representatives, strict=True)
    ]
    representative = [of_image for _, of_image in representatives]
    num_epochs = settings.epochs_for(max(len(of_layer) for of_layer in ids))
    edges = [build_edges(graph, num_epochs) for graph in graphs]
    components = [layer.activations for layer in layers]
    start = common_start(
        components, [layer.ids for layer in layers], ids, graphs, representative, settings.metric
    )
    springs = build_springs(ids, graphs, edges, representative, alignment)
    del graphs
    force = settings.force()

    def between(layouts: Sequence[NDArray[np.float32]], step: float) -> None:
        for layout, of_layer in zip(layouts, representative, strict=True):
            copy_from_representatives(layout, of_layer)
        apply_springs(springs, layouts, step)
        for layout, of_layer in zip(layouts, representative, strict=True):
            average_equal(layout, of_layer)

    by_seed = []
    for seed in seeds:
        starts = _noisy_starts(start, seed)
        for of_layer, of_image in zip(starts, representative, strict=True):
            average_equal(of_layer, of_image)
        layouts = parallel_layouts(edges, starts, force, num_epochs, seed, between)
        by_seed.append([_in_row_order(*pair) for pair in zip(layouts, orders, strict=True)])
    return by_seed


def copy_from_representatives(layout: NDArray[np.float32], representative: NDArray[np.int64]) -> None:
    """Move every image to its representative, in place. layout: (image, 2); representative: (image,)."""
    others = np.flatnonzero(representative != np.arange(len(representative)))
    layout[others] = layout[representative[others]]


def average_equal(layout: NDArray[np.float32], representative: NDArray[np.int64]) -> None:
    """Move equal activations to their mean, in place. layout: (image, 2); representative: (image,)."""
    size = np.bincount(representative, minlength=len(representative))
    in_group = np.flatnonzero(size[representative] > 1)
    if not len(in_group):
        return
    for axis in range(layout.shape[1]):
        total = np.bincount(
            representative[in_group], weights=layout[in_group, axis], minlength=len(representative)
        )
        layout[in_group, axis] = total[representative[in_group]] / size[representative[in_group]]


def _representatives(same: Distinct, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Representatives as image numbers: (vertex,) of each vertex, and (image,) of each image."""
    of_image = same.vertex[order]
    of_vertex = np.unique(of_image, return_index=True)[1]
    return of_vertex, of_vertex[of_image]


def _graph_of_images(
    graph: scipy.sparse.csr_matrix, of_vertex: NDArray[np.int64], representative: NDArray[np.int64]
) -> scipy.sparse.csr_matrix:
    """Graph of the vertices as a graph (image, image) between their representatives."""
    edges = graph.tocoo()
    ends = (of_vertex[edges.row], of_vertex[edges.col])
    return scipy.sparse.csr_matrix((edges.data, ends), shape=(len(representative),) * 2)


def _in_row_order(layout: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    rows = np.empty_like(layout)
    rows[order] = layout
    return rows


def _noisy_starts(start: Sequence[NDArray[np.float32]], seed: int) -> list[NDArray[np.float32]]:
    """Add the same noise in every layer, so that an image starts at the same position in all of them."""
    return [
        scaled_to_span(with_noise(scaled_to_span(of_layer), np.random.RandomState(np.random.PCG64(seed))))
        for of_layer in start
    ]
