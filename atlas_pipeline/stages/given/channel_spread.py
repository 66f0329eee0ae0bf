"""channel_spread: mean and standard deviation of each channel over a layer's sampled activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.columns import column_matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSpreadInputs:
    """The layer's activations."""

    sample: Artefact


def _compute(task: Task, jobs: Sequence[Job[Any, ChannelSpreadInputs]], runtime: Runtime) -> list[Output]:
    from sklearn.preprocessing import StandardScaler

    (job,) = jobs
    scaler = StandardScaler()
    for part in job.inputs.sample.parts(["activation"]):
        scaler.partial_fit(column_matrix(part, "activation").astype(np.float64))
        runtime.advance(part.num_rows)
    return [Output(table=pa.table({"mean": scaler.mean_, "sd": np.sqrt(scaler.var_)}))]


CHANNEL_SPREAD = Stage(
    name="channel_spread",
    version=1,
    inputs=ChannelSpreadInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(Column("mean", pa.float64()), Column("sd", pa.float64())),
    commands=("image",),
)


def step(sample: Step) -> Step:
    """The spread of one layer's channels."""
    return Step(stage=CHANNEL_SPREAD, config={}, inputs={"sample": sample}, layer=sample.layer)
