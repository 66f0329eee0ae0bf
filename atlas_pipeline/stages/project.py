"""project: activations to the unit square, x to the right and y up; with the layout's quality.

With ``project.fit_on`` UMAP is fitted on a random part, and the rest is placed among it.

In a class comparison x is the axis between the two classes, and only y is a layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config import ClassConfig, ComparisonConfig, Config, ProjectConfig
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.blocks import ChosenRows
from atlas_pipeline.numerics.comparison import comparison_axis
from atlas_pipeline.numerics.normalise import normalise_layout
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.fitted import fitted_rows
from atlas_pipeline.stages.tables import ActivationBlocks, activations, population

if TYPE_CHECKING:
    from atlas_pipeline.layout.search import Neighbors

LayoutConfig = ProjectConfig | ClassConfig | ComparisonConfig


def _by_tsne(job: Job, chosen: Artefact, num_dimensions: int) -> np.ndarray:
    from atlas_pipeline.layout.tsne_layout import tsne_layout

    return tsne_layout(
        activations(chosen),
        metric=job.config["metric"],
        seed=job.config["seed"],
        num_dimensions=num_dimensions,
        perplexity=job.config["perplexity"],
    )


def _by_umap(
    job: Job, chosen: Artefact, num_dimensions: int, device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """The layout, and what it has in common with one of another seed, where that is asked for."""
    from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts
    from atlas_pipeline.numerics.quality import seed_agreement

    config = job.config
    settings = UmapSettings(
        **{key: config[key] for key in ("num_neighbors", "min_dist", "metric", "num_epochs", "engine")},
        device=device,
    )
    seeds = [config["seed"], config["seed"] + 1] if config["compare_seeds"] else [config["seed"]]
    table = job.inputs["neighbors"].read()
    near = column_matrix(table, "indices"), column_matrix(table, "distances")
    fitted = fitted_rows(chosen.num_rows, config["fit_on"], config["seed"])
    blocks = ActivationBlocks(chosen)
    if fitted is None:
        layout, *others = umap_layouts(blocks, near, settings, seeds, num_dimensions)
        among = layout
    else:
        own = near[0][fitted], near[1][fitted]
        among, *others = umap_layouts(ChosenRows(blocks, fitted), own, settings, seeds, num_dimensions)
        layout = _with_the_rest(among, fitted, near, config["num_neighbors"])
    agreement = seed_agreement(among, others[0], seed=config["seed"]) if others else {}
    return layout, agreement


def _with_the_rest(among: np.ndarray, fitted: np.ndarray, near: Neighbors, num_neighbors: int) -> np.ndarray:
    """(activation, 2): the fitted where they are, the others placed among them."""
    from atlas_pipeline.layout.placing import placed

    layout = np.empty((len(near[0]), 2), np.float32)
    layout[fitted] = among
    others = np.setdiff1d(np.arange(len(layout)), fitted, assume_unique=True)
    layout[others] = placed(among, (near[0][others], near[1][others]), num_neighbors)
    return layout


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.layout.tsne_layout import bearable_perplexity
    from atlas_pipeline.numerics.quality import layout_quality

    (job,) = jobs
    chosen, config = population(job.inputs), job.config
    compared = config.get("compared", False)
    num_dimensions = 1 if compared else 2
    agreement: dict[str, Any] = {}
    if config["method"] == "tsne":
        layout = _by_tsne(job, chosen, num_dimensions)
    else:
        layout, agreement = _by_umap(job, chosen, num_dimensions, runtime.device)
    layout = normalise_layout(layout)
    if compared:
        select = job.inputs["select"]
        x = comparison_axis(select.read(["value"])["value"].to_numpy(), select.notes["scale"])
        layout = np.column_stack([x, layout])
    quality = layout_quality(ActivationBlocks(chosen), layout, seed=config["seed"], metric=config["metric"])
    table = chosen.read(["image_id", "row", "col"])
    table = table.append_column("x", pa.array(layout[:, 0])).append_column("y", pa.array(layout[:, 1]))
    notes: dict[str, Any] = {"quality": {**quality, **agreement}}
    if config["method"] == "tsne":
        notes["perplexity"] = bearable_perplexity(config["perplexity"], len(layout))
    runtime.advance(len(layout))
    return [Output(table=table, notes=notes)]


PROJECT = Stage(
    name="project",
    version=2,
    unit="rows",
    split=lambda job: [{"rows": population(job.inputs).num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, sample: Step, neighbors: Step) -> Step:
    """The layout of one layer's activations."""
    return _step(config, config.project, {"sample": sample}, neighbors, view="all")


def view_step(
    config: Config, entry: ClassConfig | ComparisonConfig, sample: Step, select: Step, neighbors: Step
) -> Step:
    """The layout of a selection: a class atlas's, or the second axis of a comparison."""
    return _step(config, entry, {"sample": sample, "select": select}, neighbors, view=str(select.view))


def _step(
    config: Config, project: LayoutConfig, inputs: Mapping[str, Step], neighbors: Step, view: str
) -> Step:
    settings: dict[str, Any] = {
        "method": project.method,
        "metric": config.project.metric,
        "seed": config.seed,
    }
    if "select" in inputs:
        settings["compared"] = isinstance(project, ComparisonConfig)
    if project.method == "umap":
        settings |= {
            "num_neighbors": project.num_neighbors,
            "min_dist": project.min_dist,
            "num_epochs": config.project.num_epochs,
            "engine": config.project.engine,
            # A selection is small, and chosen already; and a second layout of each would be many.
            "fit_on": None if "select" in inputs else config.project.fit_on,
            "compare_seeds": config.project.compare_seeds and "select" not in inputs,
        }
        inputs = {**inputs, "neighbors": neighbors}
    else:
        settings["perplexity"] = project.perplexity
    return Step(stage=PROJECT, config=settings, inputs=inputs, layer=neighbors.layer, view=view)


def lowered_perplexity(artefact: Any) -> float | None:
    """The perplexity that a t-SNE layout was made with, where it is less than asked for."""
    used = artefact.notes.get("perplexity")
    return used if used is not None and used < artefact.config["perplexity"] else None
