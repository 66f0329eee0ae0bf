"""whiten: compute a layer's mean and its precision, the regularised inverse of its second moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.whitening import SecondMoment, precision
from atlas_pipeline.tables.columns import column_matrix, matrix_column


@dataclass(frozen=True, slots=True, kw_only=True)
class WhitenInputs:
    """The layer's activations."""

    sample: Artefact


def _compute(task: Task, jobs: Sequence[Job[Any, WhitenInputs]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    moment = SecondMoment()
    for part in job.inputs.sample.parts(["activation"]):
        moment.add(column_matrix(part, "activation"))
        runtime.advance(part.num_rows)
    columns = {"mean": moment.mean(), "precision": matrix_column(precision(moment.value()))}
    return [Output(table=pa.table(columns))]


WHITEN = Stage(
    name="whiten",
    version=2,
    inputs=WhitenInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(Column("mean", pa.float64()), Column("precision", Vector((pa.float64(),), "channel"))),
    commands=("invert",),
)


def step(sample: Step) -> Step:
    """The mean and the precision of one layer."""
    return Step(stage=WHITEN, config={}, inputs={"sample": sample}, layer=sample.layer)
