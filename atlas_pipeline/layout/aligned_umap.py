"""One UMAP of several layers over the same images: what two of them see alike lies at one place in both.

All layers start alike (``common_start``), are laid out epoch by epoch side by side by the parallel scheme
(``umap_edges``), and are pulled together between the epochs (``springs``). The layers may as well be those of
several checkpoints, or of several networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.common_start import common_start
from atlas_pipeline.layout.parallel_umap import parallel_layouts
from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.springs import Alignment, pull_together, springs_of
from atlas_pipeline.layout.umap_edges import edges_of
from atlas_pipeline.layout.umap_layout import UmapSettings, fuzzy_graph, spanned, with_noise
from atlas_pipeline.numerics.blocks import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedLayer:
    """One of the layers.

    activations: (activation, channel) blocks, for the start only. neighbors: indices and distances, each
    (activation, neighbour), itself first. ids: (activation,) integers, each once: an activation of the same
    id in another layer is of the same image.
    """

    activations: Blocks
    neighbors: Neighbors
    ids: NDArray[np.integer]


def aligned_layouts(
    layers: Sequence[AlignedLayer], settings: UmapSettings, alignment: Alignment, seeds: Sequence[int]
) -> list[list[NDArray[np.float32]]]:
    """A layout of all layers a seed, of the same graphs and one start.

    Args:    layers: at least two, in the order in which they are near to each other. settings: the engine is
             always the parallel one.
    Returns: for each seed, for each layer (activation, 2), all layers in one range; the same bits for any
             number of threads.
    Raises:  ValueError: an id twice in a layer, as many ids as activations are not there, or no id is in all.
    Source:  the alignment is that of umap-learn's AlignedUMAP; see ``springs``.
    """
    for number, layer in enumerate(layers):
        if len(np.unique(layer.ids)) != len(layer.neighbors[0]) or len(layer.ids) != len(layer.neighbors[0]):
            raise ValueError(f"layer {number}: every one of its activations needs an id of its own")
    ids = [layer.ids for layer in layers]
    graphs = [
        fuzzy_graph(layer.neighbors, min(settings.num_neighbors, len(layer.neighbors[0]))) for layer in layers
    ]
    num_epochs = settings.epochs_for(max(len(of_layer) for of_layer in ids))
    edges = [edges_of(graph, num_epochs) for graph in graphs]
    start = common_start([layer.activations for layer in layers], ids, graphs, settings.metric)
    springs = springs_of(ids, graphs, edges, alignment)
    del graphs
    between, force = partial(pull_together, springs), settings.force()
    return [parallel_layouts(edges, _starts(start, seed), force, num_epochs, seed, between) for seed in seeds]


def _starts(start: Sequence[NDArray[np.float32]], seed: int) -> list[NDArray[np.float32]]:
    """The same noise for every layer, so that the same image starts at the same place."""
    return [
        spanned(with_noise(spanned(of_layer), np.random.RandomState(np.random.PCG64(seed))))
        for of_layer in start
    ]
