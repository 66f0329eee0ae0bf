"""Layouts by the method that a step's config names, of one layer or of several together. Not a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_pipeline.engine.stage import Artefact, Job
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.layout.fitted import fitted_rows
from atlas_pipeline.numerics.blocks import Blocks, ChosenRows
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.population import ActivationBlocks

if TYPE_CHECKING:
    from atlas_pipeline.layout.distinct import Distinct
    from atlas_pipeline.layout.neighbors import NearVertices
    from atlas_pipeline.layout.umap_layout import UmapSettings


@dataclass(frozen=True, slots=True)
class LayoutResult:
    """A layout before it is stretched over the unit square.

    places: (vertex, dimension) in no particular range. same: the vertex of every activation. agreement: what
    the layout has in common with one of another seed.
    """

    places: np.ndarray
    same: Distinct
    agreement: Mapping[str, Any]


def by_tsne(job: Job, chosen: Artefact, num_dimensions: int) -> LayoutResult:
    """One layout by t-SNE; of it no second seed is made."""
    from atlas_pipeline.layout.distinct import distinct, read_vectors
    from atlas_pipeline.layout.tsne_layout import tsne_of_vectors

    config, blocks = job.config, ActivationBlocks(chosen)
    same = distinct(blocks, config["metric"], config["seed"])
    places = tsne_of_vectors(
        read_vectors(blocks, same.rows, config["metric"]),
        metric=config["metric"],
        seed=config["seed"],
        num_dimensions=num_dimensions,
        perplexity=config["perplexity"],
    )
    return LayoutResult(places, same, {})


def by_umap(job: Job, chosen: Artefact, num_dimensions: int, device: str) -> LayoutResult:
    """One layout by UMAP, fitted on a part where that is asked for."""
    from atlas_pipeline.layout.umap_layout import fitted_layouts

    config, near = job.config, _neighbors(job.inputs["neighbors"])
    settings, blocks = _settings(config, device), ActivationBlocks(chosen)
    return _finished(fitted_layouts(blocks, near, settings, _seeds(config), num_dimensions), near, config)


def by_aligned_umap(job: Job) -> list[LayoutResult]:
    """The layouts of all layers of which a step's is one, in the order of the layers.

    Raises: ImagesError: the layers were sampled from different images.
    """
    from atlas_pipeline.layout.aligned_umap import AlignedLayer, aligned_layouts
    from atlas_pipeline.layout.springs import Alignment

    config, aligned = job.config, job.config["aligned"]
    every = range(aligned["num_layers"])
    samples = [job.inputs[sample_role(number)] for number in every]
    _refuse_different_images(samples)
    near = [_neighbors(job.inputs[neighbors_role(number)]) for number in every]
    fitted = fitted_rows(samples[0].num_rows, config["fit_on"], config["seed"])
    rows = np.arange(samples[0].num_rows) if fitted is None else fitted
    layers = []
    for sample, of_layer in zip(samples, near, strict=True):
        blocks: Blocks = ActivationBlocks(sample)
        blocks = blocks if fitted is None else ChosenRows(blocks, fitted)
        own = replace(of_layer, same=of_layer.same.restricted_to(rows))
        # Row by row they are of the same images.
        layers.append(AlignedLayer(activations=blocks, neighbors=own, ids=rows))
    alignment = Alignment(regularisation=aligned["regularisation"], window_size=aligned["window_size"])
    by_seed = aligned_layouts(layers, _settings(config, "cpu"), alignment, _seeds(config))
    finished = []
    for number, of_layer in enumerate(near):
        of_vertices = layers[number].neighbors.same.rows
        layouts = [of_seed[number][of_vertices] for of_seed in by_seed]
        finished.append(_finished(layouts, of_layer, config))
    return finished


def sample_role(number: int) -> str:
    """The input that holds the sample of one of the aligned layers."""
    return f"sample {number}"


def neighbors_role(number: int) -> str:
    """The input that holds the neighbours of one of the aligned layers."""
    return f"neighbors {number}"


def _neighbors(artefact: Artefact) -> NearVertices:
    from atlas_pipeline.layout.distinct import Distinct
    from atlas_pipeline.layout.neighbors import NearVertices

    table = artefact.read()
    vertex = table["vertex"].to_numpy()
    rows = np.unique(vertex, return_index=True)[1]
    same = Distinct(vertex=vertex, rows=rows, num_fitted=artefact.notes["num_fitted"])
    return NearVertices(column_matrix(table, "indices")[rows], column_matrix(table, "distances")[rows], same)


def _settings(config: Mapping[str, Any], device: str) -> UmapSettings:
    from atlas_pipeline.layout.umap_layout import UmapSettings

    keys = ("num_neighbors", "min_dist", "metric", "num_epochs", "engine")
    return UmapSettings(**{key: config[key] for key in keys}, device=device)


def _seeds(config: Mapping[str, Any]) -> list[int]:
    return [config["seed"], config["seed"] + 1] if config["compare_seeds"] else [config["seed"]]


def _finished(layouts: Sequence[np.ndarray], near: NearVertices, config: Mapping[str, Any]) -> LayoutResult:
    """The first seed's layout with the rest placed in it, and how far the second seed's agrees."""
    from atlas_pipeline.layout.placing import add_unfitted
    from atlas_pipeline.numerics.quality import seed_agreement

    among, *others = layouts
    agreement = seed_agreement(among, others[0], seed=config["seed"]) if others else {}
    return LayoutResult(add_unfitted(among, near, config["num_neighbors"]), near.same, agreement)


def _refuse_different_images(samples: Sequence[Artefact]) -> None:
    first, *others = samples
    images = first.read(["image_id"])
    for other in others:
        if not other.read(["image_id"]).equals(images):
            raise ImagesError(
                f"layers '{first.config['layer']}' and '{other.config['layer']}' were sampled from different "
                "images (some could not be read at one time and could at another), and project.align needs "
                "the same; sample both anew: atlas sample CONFIG --force"
            )
