"""project: activations to the unit square, x to the right and y up; with the layout's quality.

With ``project.align`` all layers are laid out at once: an image stays where it is from one to the next.
With ``project.fit_on`` UMAP is fitted on a random part, and the rest is placed among it.

In a class comparison x is the axis between the two classes, and only y is a layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import ClassConfig, ComparisonConfig, Config, ProjectConfig
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.alignment import layout_alignment
from atlas_pipeline.numerics.blocks import ChosenRows
from atlas_pipeline.numerics.comparison import comparison_axis
from atlas_pipeline.numerics.normalise import normalise_layout, normalise_together
from atlas_pipeline.stages.atlas.layout_methods import (
    by_aligned_umap,
    by_tsne,
    by_umap,
    neighbors_role,
    sample_role,
)
from atlas_pipeline.tables.population import ActivationBlocks, population

if TYPE_CHECKING:
    from atlas_pipeline.layout.distinct import Distinct

LayoutConfig = ProjectConfig | ClassConfig | ComparisonConfig


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    aligned = "aligned" in jobs[0].config
    outputs = _aligned(jobs) if aligned else [_alone(job, runtime.device) for job in jobs]
    runtime.advance(task["rows"])
    return outputs


def _alone(job: Job, device: str) -> Output:
    from atlas_pipeline.layout.distinct import separate_equal

    chosen, config = population(job.inputs), job.config
    compared = config.get("compared", False)
    num_dimensions = 1 if compared else 2
    if config["method"] == "tsne":
        result = by_tsne(job, chosen, num_dimensions)
    else:
        result = by_umap(job, chosen, num_dimensions, device)
    # Stretched before equal activations are set down: one vertex has one say in where the outliers begin.
    layout = separate_equal(normalise_layout(result.places), result.same, config["seed"])
    if compared:
        select = job.inputs["select"]
        x = comparison_axis(select.read(["value"])["value"].to_numpy(), select.notes["scale"])
        layout = np.column_stack([x, layout])
    return _output(job, chosen, layout, result.same, result.agreement)


def _aligned(jobs: Sequence[Job]) -> list[Output]:
    """The layouts that are missing, of all that are laid out together."""
    from atlas_pipeline.layout.distinct import separate_equal

    every = by_aligned_umap(jobs[0])
    seed = jobs[0].config["seed"]
    boxed = [
        separate_equal(places, result.same, seed)
        for places, result in zip(normalise_together([result.places for result in every]), every, strict=True)
    ]
    outputs = []
    for job in jobs:
        this = job.config["aligned"]["layer"]
        figures = dict(every[this].agreement)
        if this + 1 < len(boxed):
            figures |= layout_alignment(boxed[this], boxed[this + 1], job.config["seed"])
        outputs.append(_output(job, job.inputs["sample"], boxed[this], every[this].same, figures))
    return outputs


def _output(
    job: Job, chosen: Artefact, layout: np.ndarray, same: Distinct, figures: Mapping[str, Any]
) -> Output:
    from atlas_pipeline.layout.tsne_layout import effective_perplexity
    from atlas_pipeline.numerics.quality import layout_quality

    config = job.config
    # One of each group of equal activations: among equals no one is nearer than another.
    rows = np.sort(same.rows)
    blocks = ChosenRows(ActivationBlocks(chosen), rows)
    quality = layout_quality(blocks, layout[rows], seed=config["seed"], metric=config["metric"])
    equal = {"num_distinct": len(rows), "largest_group": same.largest_group}
    table = chosen.read(["image_id", "row", "col"])
    table = table.append_column("x", pa.array(layout[:, 0])).append_column("y", pa.array(layout[:, 1]))
    notes: dict[str, Any] = {"quality": {**quality, **figures, **equal}}
    if config["method"] == "tsne":
        notes["perplexity"] = effective_perplexity(config["perplexity"], len(rows))
    return Output(table=table, notes=notes)


def _split(job: Job) -> list[Task]:
    # Layers laid out together share a task, though one of them may have fewer rows: that is for the task to
    # refuse.
    whole = job.inputs[sample_role(0)] if "aligned" in job.config else population(job.inputs)
    return [{"rows": whole.num_rows}]


PROJECT = Stage(
    name="project",
    version=4,
    unit="rows",
    split=_split,
    size=lambda task: task["rows"],
    compute=_compute,
)


def steps(config: Config, samples: Mapping[str, Step], neighbors: Mapping[str, Step]) -> dict[str, Step]:
    """The layouts of whole layers, each on its own; with ``project.align`` those missing are made together.

    Args: samples, neighbors: by layer, in the run's order.
    """
    alone = {
        layer: _step(config, config.project, {"sample": sample}, neighbors[layer], view="all")
        for layer, sample in samples.items()
    }
    if not config.project.align:
        return alone
    every = {sample_role(number): sample for number, sample in enumerate(samples.values())}
    every |= {neighbors_role(number): neighbors[layer] for number, layer in enumerate(samples)}
    return {
        layer: replace(
            step,
            config={
                **step.config,
                # Whatever engine was asked for: it makes no difference.
                "engine": "parallel",
                "aligned": _alignment(config.project, number, len(samples)),
            },
            inputs={**step.inputs, **every},
            shared="aligned",
            own_inputs=("sample", "neighbors"),
        )
        for number, (layer, step) in enumerate(alone.items())
    }


def _alignment(project: ProjectConfig, layer: int, num_layers: int) -> dict[str, Any]:
    """Which of the layers laid out together, and what holds them together."""
    return {
        "layer": layer,
        "num_layers": num_layers,
        "regularisation": project.align_regularisation,
        "window_size": project.align_window_size,
    }


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


# Share of repeated activations above which a reader must know of them.
_MANY_EQUAL = 0.05


def many_equal(artefact: Artefact) -> str | None:
    """How many of the activations are equal to another one, in words, where that is more than 5 %."""
    quality, num_rows = artefact.notes["quality"], artefact.num_rows
    num_repeated = num_rows - quality["num_distinct"]
    if num_repeated <= _MANY_EQUAL * num_rows:
        return None
    return (
        f"{num_repeated:,} of {num_rows:,} activations repeat another one exactly (the largest group: "
        f"{quality['largest_group']:,}), as on a blank background or behind a closed ReLU; equal ones share "
        "one place"
    )
