"""select: the activations that matter to a class, or that speak for either of two, by their attributions.

All selections of a layer come from one streamed pass over its attributions: their steps share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.numerics.comparison import axis_scale
from atlas_pipeline.numerics.select import ClassRequest, ComparisonRequest, Selection, Selections
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.views.views import ClassView, ComparisonView

# By attribution, for each class, where the config leaves it open.
MOST_TAKEN = 3000


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    sample = jobs[0].inputs["sample"]
    requests = [_request(job) for job in jobs]
    selections = Selections(requests)
    image_ids = [np.empty(0, np.int64)]
    for part in sample.parts(["image_id", "attribution"]):
        selections.add(column_matrix(part, "attribution"))
        image_ids.append(part["image_id"].to_numpy())
        runtime.advance(part.num_rows)
    image_id = np.concatenate(image_ids)
    return [_output(request, selections.selected(request), image_id) for request in requests]


def _request(job: Job) -> ClassRequest | ComparisonRequest:
    config = job.config
    if "class" in config:
        return ClassRequest(
            column=_column(job, config["class"]),
            filter=config["filter"],
            sign=config["sign"],
            top=_top(job) if config["filter"] != "rank" else 0,
        )
    return ComparisonRequest(
        left=_column(job, config["left"]), right=_column(job, config["right"]), top=_top(job)
    )


def _top(job: Job) -> int:
    """How many by attribution: as asked, else as many as there are activations a class of the network.

    The paper takes 2,000 to 3,000 of a million; of few images so many would be mostly other classes'.
    """
    sample, asked = job.inputs["sample"], job.config["top"]
    return asked or min(MOST_TAKEN, max(1, sample.num_rows // sample.notes["num_classes"]))


def _column(job: Job, index: int) -> int:
    """The place of a logit among those that the sample keeps."""
    classes = job.inputs["sample"].notes["classes"] or []
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


def nothing_selected(artefact: Artefact) -> str:
    """Why a selection is empty, and what to do, in words."""
    config, none = artefact.config, f"of {artefact.notes['of']} activations none"
    if "class" not in config:
        return f"{none} speaks for either class; take another layer or other classes"
    extreme, side = ("highest", "above") if config["sign"] == "positive" else ("lowest", "below")
    if config["filter"] == "rank":
        return f"{none} has its {extreme} attribution to the class, and {side} 0; try filter: both"
    return f"{none} has an attribution {side} 0 to the class; take another layer or class"


SELECT = Stage(
    name="select",
    version=2,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["sample"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def class_step(view: ClassView, sample: Step) -> Step:
    """The activations of one layer that matter to one class; those missing share one pass."""
    entry = view.entry
    config: dict[str, Any] = {"class": view.index, "filter": entry.filter, "sign": entry.sign}
    if entry.filter != "rank":
        config["top"] = entry.top
    return _step(config, sample, view.view)


def comparison_step(view: ComparisonView, sample: Step) -> Step:
    """The activations of one layer that speak most for either of two classes; they share the same pass."""
    left, right = view.indices
    return _step({"left": left, "right": right, "top": view.entry.top}, sample, view.view)


def _step(config: dict[str, Any], sample: Step, view: str) -> Step:
    return Step(
        stage=SELECT,
        config=config,
        inputs={"sample": sample},
        layer=sample.layer,
        view=view,
        shared="select",
    )
