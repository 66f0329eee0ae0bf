"""select: choose the activations that matter to a class, or to either of two classes, by attribution.

All selections of a layer share one streamed pass over its attributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.views import Sign
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.numerics.comparison import axis_scale
from atlas_pipeline.numerics.select import ClassRequest, ComparisonRequest, Selection, Selections
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.views.view import ClassPopulation, ComparisonPopulation, View

# Most activations taken by attribution for each class, where the config sets no number.
MAX_SELECTED = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSelectConfig:
    """Selection by rank: the class has the highest (sign negative: the lowest) attribution of an activation.

    class_: index of the logit.
    """

    class_: int
    filter: Literal["rank", "magnitude", "both"]
    sign: Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class TopClassSelectConfig(ClassSelectConfig):
    """Selection by the size of the attribution, or by both criteria.

    top: most activations selected by size; None: see `_top`.
    """

    top: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSelectConfig:
    """left, right: indices of the logits. top: most activations selected for each; None: see `_top`."""

    left: int
    right: int
    top: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectInputs:
    """The layer's activations, with attributions."""

    sample: Artefact


SelectConfig = ClassSelectConfig | ComparisonSelectConfig
SelectJob = Job[SelectConfig, SelectInputs]


def _compute(task: Task, jobs: Sequence[SelectJob], runtime: Runtime) -> list[Output]:
    sample = jobs[0].inputs.sample
    requests = [_request(job) for job in jobs]
    selections = Selections(requests)
    image_ids = [np.empty(0, np.int64)]
    for part in sample.parts(["image_id", "attribution"]):
        selections.add(column_matrix(part, "attribution"))
        image_ids.append(part["image_id"].to_numpy())
        runtime.advance(part.num_rows)
    image_id = np.concatenate(image_ids)
    return [_output(request, selections.selected(request), image_id) for request in requests]


def _request(job: SelectJob) -> ClassRequest | ComparisonRequest:
    config = job.config
    if isinstance(config, ComparisonSelectConfig):
        return ComparisonRequest(
            left=_column(job, config.left), right=_column(job, config.right), top=_top(job, config.top)
        )
    return ClassRequest(
        column=_column(job, config.class_),
        filter=config.filter,
        sign=config.sign,
        top=_top(job, config.top) if isinstance(config, TopClassSelectConfig) else 0,
    )


def _top(job: SelectJob, configured: int | None) -> int:
    """Number to select by attribution: the configured one, or the number of activations per class.

    The paper takes 2,000 to 3,000 of a million activations. With few images, so many would reach far into
    those of other classes.
    """
    sample = job.inputs.sample
    return configured or min(MAX_SELECTED, max(1, sample.num_rows // sample.notes["num_classes"]))


def _column(job: SelectJob, index: int) -> int:
    """The position of a logit among those that the sample keeps."""
    classes = job.inputs.sample.notes["classes"] or []
    if index not in classes:
        raise ConfigError(
            f"layer '{job.layer}': the sample has no attributions to class {index}; if model.labels has "
            "changed since, sample again: atlas sample CONFIG --force"
        )
    return classes.index(index)


def _output(request: ClassRequest | ComparisonRequest, selection: Selection, image_id: np.ndarray) -> Output:
    notes: dict[str, Any] = {"num_selected": len(selection.rows), "of": len(image_id)}
    if isinstance(request, ComparisonRequest):
        notes["scale"] = axis_scale(selection.value)
    table = pa.table(
        {"image_id": image_id[selection.rows], "sample_row": selection.rows, "value": selection.value}
    )
    return Output(table=table, notes=notes)


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    """The reason why a selection is empty, and the remedy."""
    if artefact.num_rows:
        return []
    config, where = step.config, f"{step.layer}, {step.view}: none of {artefact.notes['of']} activations"
    if isinstance(config, ComparisonSelectConfig):
        return [f"{where} speaks for either class; take another layer or other classes"]
    extreme, side = ("highest", "above") if config.sign == "positive" else ("lowest", "below")
    if config.filter == "rank":
        return [f"{where} has its {extreme} attribution to the class, and {side} 0; try filter: both"]
    return [f"{where} has an attribution {side} 0 to the class; take another layer or class"]


SELECT = Stage(
    name="select",
    version=2,
    config=(ClassSelectConfig, TopClassSelectConfig, ComparisonSelectConfig),
    inputs=SelectInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(
        Column("image_id", pa.int64()),
        Column("sample_row", pa.int64()),
        Column("value", pa.float32()),
    ),
    commands=("select",),
    remarks=_remarks,
)


def step(view: View, sample: Step) -> Step | None:
    """The selection of a view in one layer; None for a view of all activations.

    The missing selections of a layer share one pass over its attributions.
    """
    if view.population is None:
        return None
    return Step(
        stage=SELECT,
        config=_config(view.population),
        inputs={"sample": sample},
        layer=sample.layer,
        view=view.name,
        shared="select",
    )


def _config(population: ClassPopulation | ComparisonPopulation) -> SelectConfig:
    if isinstance(population, ComparisonPopulation):
        left, right = population.indices
        return ComparisonSelectConfig(left=left, right=right, top=population.top)
    if population.filter == "rank":
        return ClassSelectConfig(class_=population.index, filter="rank", sign=population.sign)
    return TopClassSelectConfig(
        class_=population.index, filter=population.filter, sign=population.sign, top=population.top
    )
