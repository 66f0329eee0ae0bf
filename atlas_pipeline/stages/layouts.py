"""Layouts by the method that a step's config names, of one layer or of several together. Not a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_pipeline.engine.stage import Artefact, Job
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.numerics.blocks import Blocks, ChosenRows
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.fitted import fitted_rows
from atlas_pipeline.stages.tables import ActivationBlocks, activations

if TYPE_CHECKING:
    from atlas_pipeline.layout.search import Neighbors
    from atlas_pipeline.layout.umap_layout import UmapSettings

Laid = tuple[np.ndarray, dict[str, Any]]
"""(activation, dimension) in no particular range, and what it has in common with one of another seed."""


def by_tsne(job: Job, chosen: Artefact, num_dimensions: int) -> Laid:
    """One layout by t-SNE; of it no second seed is made."""
    from atlas_pipeline.layout.tsne_layout import tsne_layout

    layout = tsne_layout(
        activations(chosen),
        metric=job.config["metric"],
        seed=job.config["seed"],
        num_dimensions=num_dimensions,
        perplexity=job.config["perplexity"],
    )
    return layout, {}


def by_umap(job: Job, chosen: Artefact, num_dimensions: int, device: str) -> Laid:
    """One layout by UMAP, fitted on a part where that is asked for."""
    from atlas_pipeline.layout.umap_layout import umap_layouts

    config, near = job.config, _neighbors(job.inputs["neighbors"])
    fitted = fitted_rows(chosen.num_rows, config["fit_on"], config["seed"])
    blocks, own = _of_fitted(ActivationBlocks(chosen), near, fitted)
    layouts = umap_layouts(blocks, own, _settings(config, device), _seeds(config), num_dimensions)
    return _finished(layouts, fitted, near, config)


def by_aligned_umap(job: Job) -> list[Laid]:
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
    layers = []
    for sample, of_layer in zip(samples, near, strict=True):
        blocks, own = _of_fitted(ActivationBlocks(sample), of_layer, fitted)
        # Row by row they are of the same images.
        layers.append(AlignedLayer(activations=blocks, neighbors=own, ids=np.arange(len(own[0]))))
    alignment = Alignment(regularisation=aligned["regularisation"], window_size=aligned["window_size"])
    by_seed = aligned_layouts(layers, _settings(config, "cpu"), alignment, _seeds(config))
    return [
        _finished(layouts, fitted, of_layer, config)
        for layouts, of_layer in zip(zip(*by_seed, strict=True), near, strict=True)
    ]


def sample_role(number: int) -> str:
    """The input that holds the sample of one of the aligned layers."""
    return f"sample {number}"


def neighbors_role(number: int) -> str:
    """The input that holds the neighbours of one of the aligned layers."""
    return f"neighbors {number}"


def _neighbors(artefact: Artefact) -> Neighbors:
    table = artefact.read()
    return column_matrix(table, "indices"), column_matrix(table, "distances")


def _settings(config: Mapping[str, Any], device: str) -> UmapSettings:
    from atlas_pipeline.layout.umap_layout import UmapSettings

    keys = ("num_neighbors", "min_dist", "metric", "num_epochs", "engine")
    return UmapSettings(**{key: config[key] for key in keys}, device=device)


def _seeds(config: Mapping[str, Any]) -> list[int]:
    return [config["seed"], config["seed"] + 1] if config["compare_seeds"] else [config["seed"]]


def _of_fitted(blocks: Blocks, near: Neighbors, fitted: np.ndarray | None) -> tuple[Blocks, Neighbors]:
    """What a layout is fitted on: all of them, or the fitted rows alone."""
    if fitted is None:
        return blocks, near
    return ChosenRows(blocks, fitted), (near[0][fitted], near[1][fitted])


def _finished(
    layouts: Sequence[np.ndarray], fitted: np.ndarray | None, near: Neighbors, config: Mapping[str, Any]
) -> Laid:
    """The first seed's layout with the rest placed in it, and how far the second seed's agrees."""
    from atlas_pipeline.numerics.quality import seed_agreement

    among, *others = layouts
    agreement = seed_agreement(among, others[0], seed=config["seed"]) if others else {}
    if fitted is not None:
        among = _with_the_rest(among, fitted, near, config["num_neighbors"])
    return among, agreement


def _with_the_rest(among: np.ndarray, fitted: np.ndarray, near: Neighbors, num_neighbors: int) -> np.ndarray:
    """(activation, dimension): the fitted where they are, the others placed among them."""
    from atlas_pipeline.layout.placing import placed

    layout = np.empty((len(near[0]), 2), np.float32)
    layout[fitted] = among
    others = np.setdiff1d(np.arange(len(layout)), fitted, assume_unique=True)
    layout[others] = placed(among, (near[0][others], near[1][others]), num_neighbors)
    return layout


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
