"""whiten: a layer's precision, the regularised inverse of the second moment of its activations."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.whitening import SecondMoment, precision
from atlas_pipeline.tables.columns import column_matrix, matrix_column


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    moment = SecondMoment()
    for part in job.inputs["sample"].parts(["activation"]):
        moment.add(column_matrix(part, "activation"))
        runtime.advance(part.num_rows)
    return [Output(table=pa.table({"precision": matrix_column(precision(moment.value()))}))]


WHITEN = Stage(
    name="whiten",
    version=1,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["sample"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(sample: Step) -> Step:
    """The precision of one layer."""
    return Step(stage=WHITEN, config={}, inputs={"sample": sample}, layer=sample.layer)
