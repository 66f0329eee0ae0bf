"""project: activations to the unit square, x to the right and y up; with the layout's quality.

In a class comparison x is the axis between the two classes, and only y is a layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config import ClassConfig, ComparisonConfig, Config, ProjectConfig
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.comparison import comparison_axis
from atlas_pipeline.numerics.normalise import normalise_layout
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.tables import activations, population

LayoutConfig = ProjectConfig | ClassConfig | ComparisonConfig


def _layout(job: Job, vectors: np.ndarray) -> np.ndarray:
    """(activation, 2) in the unit square."""
    if "select" not in job.inputs or not job.config["compared"]:
        return normalise_layout(_embedded(job, vectors, num_dimensions=2))
    chosen = job.inputs["select"]
    x = comparison_axis(chosen.read(["value"])["value"].to_numpy(), chosen.notes["scale"])
    return np.column_stack([x, normalise_layout(_embedded(job, vectors, num_dimensions=1))])


def _embedded(job: Job, vectors: np.ndarray, num_dimensions: int) -> np.ndarray:
    config = job.config
    if config["method"] == "tsne":
        from atlas_pipeline.layout.tsne_layout import tsne_layout

        return tsne_layout(
            vectors,
            metric=config["metric"],
            seed=config["seed"],
            num_dimensions=num_dimensions,
            perplexity=config["perplexity"],
        )
    from atlas_pipeline.layout.umap_layout import umap_layout

    table = job.inputs["neighbors"].read()
    return umap_layout(
        vectors,
        (column_matrix(table, "indices"), column_matrix(table, "distances")),
        num_neighbors=config["num_neighbors"],
        min_dist=config["min_dist"],
        metric=config["metric"],
        seed=config["seed"],
        num_epochs=config["num_epochs"],
        num_dimensions=num_dimensions,
    )


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.layout.tsne_layout import bearable_perplexity
    from atlas_pipeline.numerics.quality import layout_quality

    (job,) = jobs
    chosen = population(job.inputs)
    vectors = activations(chosen)
    layout = _layout(job, vectors)
    quality = layout_quality(vectors, layout, seed=job.config["seed"], metric=job.config["metric"])
    table = chosen.read(["image_id", "row", "col"])
    table = table.append_column("x", pa.array(layout[:, 0])).append_column("y", pa.array(layout[:, 1]))
    notes: dict[str, Any] = {"quality": quality}
    if job.config["method"] == "tsne":
        notes["perplexity"] = bearable_perplexity(job.config["perplexity"], len(layout))
    runtime.advance(len(layout))
    return [Output(table=table, notes=notes)]


PROJECT = Stage(
    name="project",
    version=1,
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
        }
        inputs = {**inputs, "neighbors": neighbors}
    else:
        settings["perplexity"] = project.perplexity
    return Step(stage=PROJECT, config=settings, inputs=inputs, layer=neighbors.layer, view=view)


def lowered_perplexity(artefact: Any) -> float | None:
    """The perplexity that a t-SNE layout was made with, where it is less than asked for."""
    used = artefact.notes.get("perplexity")
    return used if used is not None and used < artefact.config["perplexity"] else None
