"""A layout by each method, of every vertex, with how far a second seed agrees.

A vertex is one of the distinct activations: equal ones are laid out once (`distinct`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.aligned_umap import AlignedLayer, aligned_layouts
from atlas_pipeline.layout.distinct import Distinct, distinct, read_vectors
from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.layout.placing import add_unfitted
from atlas_pipeline.layout.springs import Alignment
from atlas_pipeline.layout.tsne_layout import tsne_of_vectors
from atlas_pipeline.layout.umap_layout import CPU_UP_TO, UmapSettings, fitted_layouts
from atlas_pipeline.numerics.blocks import Blocks, ChosenRows
from atlas_pipeline.numerics.near_rows import Metric
from atlas_pipeline.numerics.quality import Figures, layout_quality, seed_agreement


@dataclass(frozen=True, slots=True)
class LayoutResult:
    """A layout before it is stretched over the unit square.

    Attributes:
        places: (vertex, dimension) float32, in no particular range.
        same: the vertex of every activation.
        agreement: how far a layout with another seed agrees, by name; empty where there is none.
        made_by: the engine that made a UMAP, and whether the GPU's memory was too small, by name.
    """

    places: NDArray[np.float32]
    same: Distinct
    agreement: Mapping[str, Any]
    made_by: Mapping[str, Any] = field(default_factory=dict)


def tsne_result(
    activations: Blocks, metric: Metric, seed: int, num_dimensions: int, perplexity: float
) -> LayoutResult:
    """A layout by t-SNE, with one seed."""
    same = distinct(activations, metric, seed)
    places = tsne_of_vectors(
        read_vectors(activations, same.rows, metric),
        metric=metric,
        seed=seed,
        num_dimensions=num_dimensions,
        perplexity=perplexity,
    )
    return LayoutResult(places, same, {})


def umap_result(
    activations: Blocks,
    neighbors: NearVertices,
    settings: UmapSettings,
    seeds: Sequence[int],
    num_dimensions: int,
) -> LayoutResult:
    """A layout by UMAP with the first seed; a second seed is for comparison."""
    laid = fitted_layouts(activations, neighbors, settings, seeds, num_dimensions)
    made_by = {"engine": laid.engine, "gpu_was_full": laid.gpu_was_full}
    return replace(_result(laid.places, neighbors, settings, seeds[0]), made_by=made_by)


def aligned_umap_results(
    activations: Sequence[Blocks],
    neighbors: Sequence[NearVertices],
    fitted: NDArray[np.int64] | None,
    settings: UmapSettings,
    alignment: Alignment,
    seeds: Sequence[int],
) -> list[LayoutResult]:
    """Layouts of several layers, row by row of the same images, by UMAP together.

    Args: activations, neighbors: of each layer. fitted: rows that the layouts are fitted on; None: all.
    """
    num_rows = len(neighbors[0].same.vertex)
    rows = np.arange(num_rows) if fitted is None else fitted
    layers = [
        AlignedLayer(
            activations=blocks if fitted is None else ChosenRows(blocks, fitted),
            neighbors=replace(near, same=near.same.restricted_to(rows)),
            ids=rows,
        )
        for blocks, near in zip(activations, neighbors, strict=True)
    ]
    by_seed = aligned_layouts(layers, settings, alignment, seeds)
    results = []
    for number, near in enumerate(neighbors):
        of_vertices = layers[number].neighbors.same.rows
        layouts = [of_seed[number][of_vertices] for of_seed in by_seed]
        result = _result(layouts, near, settings, seeds[0])
        results.append(replace(result, made_by={"engine": "parallel", "gpu_was_full": False}))
    return results


def quality_on(
    device: str, activations: Blocks, layout: NDArray[np.float32], seed: int, metric: Metric
) -> Figures:
    """The layout's quality; more than 65,536 activations are compared on the device, if it has the memory."""
    if device != "cpu" and len(layout) > CPU_UP_TO:
        from atlas_pipeline.layout.tensor_quality import compare_on_device
        from atlas_pipeline.models.out_of_memory import is_out_of_memory

        try:
            return layout_quality(
                activations, layout, seed, metric, compare=partial(compare_on_device, device=device)
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    return layout_quality(activations, layout, seed, metric)


def _result(
    layouts: Sequence[NDArray[np.float32]], neighbors: NearVertices, settings: UmapSettings, seed: int
) -> LayoutResult:
    """The first seed's layout, with the vertices that it was not fitted on; the second seed's agreement."""
    first, *others = layouts
    agreement = seed_agreement(first, others[0], seed=seed) if others else {}
    return LayoutResult(add_unfitted(first, neighbors, settings.num_neighbors), neighbors.same, agreement)
