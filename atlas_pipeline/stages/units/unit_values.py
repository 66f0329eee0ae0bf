"""unit_values: pass over the images once for the units of all layers: histograms and examples, in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Needs
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.numerics.unit_state import empty_state, state_bytes
from atlas_pipeline.tables.extent import Extent
from atlas_pipeline.tables.image_rows import tasks_of_images
from atlas_pipeline.tables.unit_batches import Left, unit_batches
from atlas_pipeline.tables.unit_table import STATE_COLUMNS, state_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitValuesConfig:
    """ranges: borders in standard deviations. per_range, num_top: examples kept. seed: of the draws."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    ranges: Sequence[float]
    per_range: int
    num_top: int
    shard_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitValuesInputs:
    """The images, and the mean and deviation of each unit."""

    index: Artefact
    spread: Artefact


ValuesJob = Job[UnitValuesConfig, UnitValuesInputs]


def _compute(task: Task, jobs: Sequence[ValuesJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.models.unit_values import UnitScale, unit_state

    settings, index, left = jobs[0].settings, jobs[0].inputs.index, Left()
    scales, states = {}, {}
    for job in jobs:
        config, spread = job.config, job.inputs.spread.read(["mean", "sd"])
        sd = spread["sd"].to_numpy()
        scales[config.layer] = UnitScale(
            mean=torch.tensor(spread["mean"].to_numpy()),
            sd=torch.tensor(np.where(sd > 0, sd, 1.0)),
            ranges=tuple(config.ranges),
            num_top=config.num_top,
            per_range=config.per_range,
            seed=config.seed,
        )
        states[config.layer] = empty_state(len(sd), config.num_top, len(config.ranges) + 1, config.per_range)
    rows = index.rows(task["start"], task["stop"])
    for layer, values, ids in unit_batches(rows, settings, list(scales), runtime, left):
        states[layer] = states[layer].merged(unit_state(values, ids, scales[layer]))
        _refuse_too_many(left.bad, index.num_rows, settings.max_bad)
    return [
        Output(
            table=pa.table({"unit": np.arange(len(state.least), dtype=np.int32), **state_columns(state)}),
            notes={"bad": left.bad, "not_finite": left.not_finite[layer]},
        )
        for layer, state in states.items()
    ]


def _refuse_too_many(bad: Sequence[Mapping[str, Any]], num_images: int, max_bad: float) -> None:
    if len(bad) > max_bad * num_images:
        first = bad[0]
        raise ImagesError(
            f"{len(bad)} of {num_images} images cannot be read, more than images.max_bad allows "
            f"({max_bad:.2%}); the first: '{first['key']}' ({first['reason']}); repair or remove them "
            "(and add --force if they were read before), or raise images.max_bad"
        )


def _summarise(job: ValuesJob, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    bad = [one for part in notes for one in part["bad"]]
    _refuse_too_many(bad, job.inputs.index.num_rows, job.settings.max_bad)
    return {
        "bad": bad,
        "num_bad": len(bad),
        "num_not_finite": sum(part["not_finite"] for part in notes),
    }


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    disk_bytes = 0
    for step, extent in zip(steps, extents, strict=True):
        if extent is not None:
            config: UnitValuesConfig = step.config
            # Each task writes the whole state of its images.
            num_tasks = -(-extent.num_rows // config.shard_size)
            per_unit = state_bytes(config.num_top, len(config.ranges) + 1, config.per_range)
            disk_bytes += int(extent.share_left * num_tasks * extent.num_channels * per_unit)
    return Needs(disk_bytes)


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    notes, lines = artefact.notes, []
    if notes["num_bad"]:
        lines.append(
            f"{notes['num_bad']} images could not be read and are not among the units' examples; "
            "unit_values's manifest names them"
        )
    if notes["num_not_finite"]:
        lines.append(
            f"{step.layer}: {notes['num_not_finite']} images gave values that are not finite, and were left "
            "out of the units' numbers"
        )
    return lines


UNIT_VALUES = Stage(
    name="unit_values",
    version=1,
    config=UnitValuesConfig,
    inputs=UnitValuesInputs,
    unit="images",
    split=lambda job: tasks_of_images(job.inputs.index.num_rows, job.config.shard_size),
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=(Column("unit", pa.int32()), *STATE_COLUMNS),
    uses_device=True,
    commands=("units",),
    is_checked=True,
    needs=_needs,
    remarks=_remarks,
)


def steps(config: Config, index: Step, spreads: Mapping[str, Step]) -> dict[str, Step]:
    """One step per layer; the missing ones share one pass over the images."""
    units = config.units
    assert units is not None
    return {
        layer: Step(
            stage=UNIT_VALUES,
            config=UnitValuesConfig(
                model=model_config(config),
                layer=layer,
                seed=config.seed,
                ranges=units.ranges,
                per_range=units.per_range,
                num_top=units.num_top,
                shard_size=units.shard_size,
            ),
            inputs={"index": index, "spread": spread},
            settings=run_settings(config),
            layer=layer,
            shared="unit_values",
            own_inputs=("spread",),
        )
        for layer, spread in spreads.items()
    }
