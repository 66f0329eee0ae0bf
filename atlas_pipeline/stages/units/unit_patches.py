"""unit_patches: cut the examples of each unit out of the images, with the position marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of, unit_tasks
from atlas_pipeline.viewer.patch_sheets import SHEET_TABLE_COLUMNS, patch_sheets

UNITS_PER_TASK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPatchesConfig:
    """model: its preprocessing and receptive field decide what a patch shows. units: empty for all.

    size_px: largest side of a patch in the image. A patch is never larger than the receptive field.
    """

    model: Mapping[str, Any]
    layer: str
    units: Sequence[int]
    size_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPatchesInputs:
    """The images, and the examples of each unit."""

    index: Artefact
    examples: Artefact


PatchesJob = Job[UnitPatchesConfig, UnitPatchesInputs]


def _split(job: PatchesJob) -> list[Task]:
    return unit_tasks(len(numbers_of(job.config.units, job.inputs.examples.num_rows)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[PatchesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    config, examples = job.config, job.inputs.examples
    units = numbers_of(config.units, examples.num_rows)[task["start"] : task["stop"]]
    table = examples.read(["top_image", "top_place", "range_image", "range_place"])
    columns, notes = patch_sheets(
        job.inputs.index,
        table.take(pa.array(units, pa.int64())),
        config.layer,
        config.size_px,
        job.settings,
        runtime,
    )
    runtime.advance(len(units))
    return [Output(table=pa.table({"unit": pa.array(units, pa.int32()), **columns}), notes=notes)]


UNIT_PATCHES = Stage(
    name="unit_patches",
    version=1,
    config=UnitPatchesConfig,
    inputs=UnitPatchesInputs,
    unit="units",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=lambda job, notes: next(iter(notes), {}),
    columns=(Column("unit", pa.int32()), *SHEET_TABLE_COLUMNS),
    commands=("units",),
)


def steps(config: Config, index: Step, examples: Mapping[str, Step]) -> Iterator[tuple[str, Step]]:
    """The patches of each layer's units; none where images must stay private (``stitch.examples: 0``)."""
    for layer, of_layer in examples.items() if config.stitch.examples else ():
        yield (
            layer,
            Step(
                stage=UNIT_PATCHES,
                config=UnitPatchesConfig(
                    model=model_config(config),
                    layer=layer,
                    units=chosen_units(config, layer),
                    size_px=config.invert.size_px,
                ),
                inputs={"index": index, "examples": of_layer},
                settings=run_settings(config),
                layer=layer,
            ),
        )
