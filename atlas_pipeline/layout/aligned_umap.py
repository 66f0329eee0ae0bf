"""One UMAP of several layers over the same images: what two of them see alike lies at one place in both.

Every image has the same number in all layers, so that the same random vertices push it in each; the order of
the numbers is drawn. Equal activations of a layer move as one: the first of them, their head, has the edges
of their vertex, and all lie at the mean of where the springs pull them.

All layers start alike (``common_start``), are laid out epoch by epoch side by side by the parallel scheme
(``umap_edges``), and are pulled together between the epochs (``springs``). The layers may as well be those of
several checkpoints, or of several networks.
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
from atlas_pipeline.layout.springs import Alignment, pull_together, springs_of
from atlas_pipeline.layout.umap_edges import edges_of
from atlas_pipeline.layout.umap_layout import UmapSettings, fuzzy_graph, spanned, with_noise
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.draws import drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedLayer:
    """One of the layers.

    activations: (activation, channel) blocks, for the start only. neighbors: of these activations, all of
    them fitted. ids: (activation,) integers, at least 0, each once: an activation of the same id in another
    layer is of the same image.
    """

    activations: Blocks
    neighbors: NearVertices
    ids: NDArray[np.integer]


def aligned_layouts(
    layers: Sequence[AlignedLayer], settings: UmapSettings, alignment: Alignment, seeds: Sequence[int]
) -> list[list[NDArray[np.float32]]]:
    """A layout of all layers a seed, of the same graphs and one start.

    Args:    layers: at least two, in the order in which they are near to each other. settings: the engine is
             always the parallel one.
    Returns: for each seed, for each layer (activation, 2), all layers in one range, equal activations at one
             place; the same bits for any number of threads.
    Raises:  ValueError: an id twice in a layer, as many ids as activations are not there, or no id is in all.
    Source:  the alignment is that of umap-learn's AlignedUMAP; see ``springs``.
    """
    for number, layer in enumerate(layers):
        num_rows = len(layer.neighbors.same.vertex)
        if len(np.unique(layer.ids)) != num_rows or len(layer.ids) != num_rows:
            raise ValueError(f"layer {number}: every one of its activations needs an id of its own")
    orders = [np.argsort(drawn(layer.ids, seeds[0])) for layer in layers]
    ids = [layer.ids[order] for layer, order in zip(layers, orders, strict=True)]
    heads = [_heads(layer.neighbors.same, order) for layer, order in zip(layers, orders, strict=True)]
    graphs = [
        _of_images(fuzzy_graph(near, min(settings.num_neighbors, len(near[0]))), *head_of)
        for near, head_of in zip((layer.neighbors.of_fitted() for layer in layers), heads, strict=True)
    ]
    head = [of_image for _, of_image in heads]
    num_epochs = settings.epochs_for(max(len(of_layer) for of_layer in ids))
    edges = [edges_of(graph, num_epochs) for graph in graphs]
    components = [layer.activations for layer in layers]
    start = common_start(components, [layer.ids for layer in layers], ids, graphs, head, settings.metric)
    springs = springs_of(ids, graphs, edges, head, alignment)
    del graphs
    force = settings.force()

    def between(layouts: Sequence[NDArray[np.float32]], step: float) -> None:
        for layout, of_layer in zip(layouts, head, strict=True):
            follow(layout, of_layer)
        pull_together(springs, layouts, step)
        for layout, of_layer in zip(layouts, head, strict=True):
            gather(layout, of_layer)

    by_seed = []
    for seed in seeds:
        starts = _starts(start, seed)
        for of_layer, whose in zip(starts, head, strict=True):
            gather(of_layer, whose)
        layouts = parallel_layouts(edges, starts, force, num_epochs, seed, between)
        by_seed.append([_in_rows(*pair) for pair in zip(layouts, orders, strict=True)])
    return by_seed


def follow(layout: NDArray[np.float32], head: NDArray[np.int64]) -> None:
    """Put every image where its head is, in place: (image, 2); head: (image,) the first of its equals."""
    mates = np.flatnonzero(head != np.arange(len(head)))
    layout[mates] = layout[head[mates]]


def gather(layout: NDArray[np.float32], head: NDArray[np.int64]) -> None:
    """Put equal activations at the mean of their places, in place: (image, 2); head: as for ``follow``."""
    size = np.bincount(head, minlength=len(head))
    crowd = np.flatnonzero(size[head] > 1)
    if not len(crowd):
        return
    for axis in range(layout.shape[1]):
        total = np.bincount(head[crowd], weights=layout[crowd, axis], minlength=len(head))
        layout[crowd, axis] = total[head[crowd]] / size[head[crowd]]


def _heads(same: Distinct, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(vertex,) and (image,): the image, by its number, that stands for a vertex and for its equals."""
    of_image = same.vertex[order]
    of_vertex = np.unique(of_image, return_index=True)[1]
    return of_vertex, of_vertex[of_image]


def _of_images(
    graph: scipy.sparse.csr_matrix, of_vertex: NDArray[np.int64], head: NDArray[np.int64]
) -> scipy.sparse.csr_matrix:
    """(image, image): the graph of the vertices between the images that stand for them."""
    edges = graph.tocoo()
    ends = (of_vertex[edges.row], of_vertex[edges.col])
    return scipy.sparse.csr_matrix((edges.data, ends), shape=(len(head),) * 2)


def _in_rows(layout: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    rows = np.empty_like(layout)
    rows[order] = layout
    return rows


def _starts(start: Sequence[NDArray[np.float32]], seed: int) -> list[NDArray[np.float32]]:
    """The same noise for every layer, so that the same image starts at the same place."""
    return [
        spanned(with_noise(spanned(of_layer), np.random.RandomState(np.random.PCG64(seed))))
        for of_layer in start
    ]
