"""judge: whether a second network, which had no part in the icons, finds the cell of each icon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_name import has_random_weights
from atlas_pipeline.numerics.transfer import derangement, own_cell_ranks
from atlas_pipeline.tables.columns import column_matrix, columns_of_measures


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStepConfig:
    """judge: the second network. seed: decides which other cell's icon stands in for a cell's own."""

    judge: Mapping[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeInputs:
    """The judge's features of icons, noise and real patches."""

    judge_features: Artefact


JudgeJob = Job[JudgeStepConfig, JudgeInputs]


def _compute(task: Task, jobs: Sequence[JudgeJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    table = job.inputs.judge_features.read()
    icon, noise, real, held_out, rest = (
        column_matrix(table, name).astype(np.float32)
        for name in ("icon", "noise", "real", "held_out", "rest")
    )
    other = derangement(len(icon), np.random.default_rng(job.config.seed))
    has_rest = table["num_patches"].to_numpy() > 1
    runtime.advance(len(icon))
    return [
        Output(
            table=pa.table(
                {
                    "row": table["row"],
                    "col": table["col"],
                    "transfer": own_cell_ranks(icon, real),
                    "transfer_real": _known(own_cell_ranks(held_out, real, own_features=rest), has_rest),
                    "transfer_other": _known(
                        own_cell_ranks(icon[other], real), np.full(len(icon), len(icon) > 1)
                    ),
                    "transfer_noise": own_cell_ranks(noise, real),
                }
            )
        )
    ]


def _known(ranks: np.ndarray, is_known: np.ndarray) -> pa.Array:
    return pa.array(ranks, pa.int32(), mask=~is_known)


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    if not has_random_weights(step.config.judge):
        return []
    return [
        f"{step.layer}, grid {step.grid}: the judge was never trained; its verdict on the icons says little"
    ]


JUDGE = Stage(
    name="judge",
    version=1,
    config=JudgeStepConfig,
    inputs=JudgeInputs,
    unit="icons",
    split=lambda job: [{"icons": job.inputs.judge_features.num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
    columns=(Column("row", pa.int16()), Column("col", pa.int16()), *columns_of_measures("judge")),
    commands=("invert",),
    remarks=_remarks,
)


def step(config: Config, features: Step | None) -> Step | None:
    """The judge's verdict on a grid's icons; None without a judge."""
    if features is None:
        return None
    return Step(
        stage=JUDGE,
        config=JudgeStepConfig(judge=features.config.judge, seed=config.seed),
        inputs={"judge_features": features},
        layer=features.layer,
        view=features.view,
        grid=features.grid,
    )
