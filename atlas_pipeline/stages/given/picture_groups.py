"""picture_groups: groups of neurons that fire together in a picture, by non-negative matrix factorisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.numerics.neuron_groups import neuron_groups, rank_of
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.given_settings import GivenSettings, given_map


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGroupsConfig:
    """num_groups: refused above the rank of the picture's activations. seed: of the factorisation."""

    num_groups: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGroupsInputs:
    """The picture's activations."""

    map: Artefact


GroupsJob = Job[PictureGroupsConfig, PictureGroupsInputs]


def _compute(task: Task, jobs: Sequence[GroupsJob], runtime: Runtime) -> list[Output]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    (job,) = jobs
    found = given_map(job.inputs.map)
    # A single position is its own only group.
    num_groups = 0 if found.is_single else job.config.num_groups
    # With other numbers of threads BLAS sums in another order. One thread gives the same bits everywhere.
    with threadpool_limits(1, user_api="blas"):
        _refuse_above_rank(job, num_groups, rank_of(found.activations))
        groups = neuron_groups(found.activations, num_groups, job.config.seed) if num_groups else None
    runtime.advance(1)
    if groups is None:
        return [Output(table=_table(np.zeros((0, len(found.activations))), found.activations[:0]))]
    notes = {"explained": groups.explained, "has_negative": bool((found.activations < 0).any())}
    return [Output(table=_table(groups.weights.T, groups.directions), notes=notes)]


def _refuse_above_rank(job: GroupsJob, num_groups: int, rank: int) -> None:
    if num_groups <= rank:
        return
    name, layer = job.settings.picture.path, job.layer
    if not rank:
        raise ConfigError(
            f"picture '{name}': no channel of layer '{layer}' fires anywhere, so it has no neuron groups; "
            "take another layer or another picture"
        )
    raise ConfigError(
        f"image.num_groups is {num_groups}, and the activations of '{name}' in layer '{layer}' have rank "
        f"{rank}, so no more groups can be told apart; set image.num_groups to at most {rank}"
    )


def _table(weights: np.ndarray, directions: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "weight": matrix_column(weights.astype(np.float32)),
            "direction": matrix_column(directions.astype(np.float32)),
        }
    )


PICTURE_GROUPS = Stage(
    name="picture_groups",
    version=1,
    config=PictureGroupsConfig,
    inputs=PictureGroupsInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(
        Column("weight", Vector((pa.float32(),), "position")),
        Column("direction", Vector((pa.float32(),), "channel")),
    ),
    commands=("image",),
)


def step(config: Config, activations: Step, settings: GivenSettings) -> Step:
    """The neuron groups of one picture in one layer."""
    return Step(
        stage=PICTURE_GROUPS,
        config=PictureGroupsConfig(num_groups=config.image.num_groups, seed=config.seed),
        inputs={"map": activations},
        settings=settings,
        layer=activations.layer,
        view=activations.view,
    )
