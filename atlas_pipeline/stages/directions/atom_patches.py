"""atom_patches: cut the examples of each atom out of the images, with the position marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.atom_table import shown_atoms
from atlas_pipeline.tables.chosen_units import unit_tasks
from atlas_pipeline.viewer.patch_sheets import SHEET_TABLE_COLUMNS, patch_sheets

ATOMS_PER_TASK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomPatchesConfig:
    """model: its preprocessing and receptive field decide what a patch shows. num_shown: atoms with pages.

    size_px: largest side of a patch in the image.
    """

    model: Mapping[str, Any]
    layer: str
    num_shown: int
    size_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomPatchesInputs:
    """The images, and the examples of each atom."""

    index: Artefact
    examples: Artefact


PatchesJob = Job[AtomPatchesConfig, AtomPatchesInputs]


def _split(job: PatchesJob) -> list[Task]:
    return unit_tasks(min(job.config.num_shown, job.inputs.examples.num_rows), ATOMS_PER_TASK)


def _compute(task: Task, jobs: Sequence[PatchesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    config, examples = job.config, job.inputs.examples
    atoms = shown_atoms(examples, config.num_shown)[task["start"] : task["stop"]]
    table = examples.read(["top_image", "top_place", "range_image", "range_place"]).take(pa.array(atoms))
    columns, notes = patch_sheets(
        job.inputs.index, table, config.layer, config.size_px, job.settings, runtime
    )
    runtime.advance(len(atoms))
    return [Output(table=pa.table({"atom": pa.array(atoms, pa.int32()), **columns}), notes=notes)]


ATOM_PATCHES = Stage(
    name="atom_patches",
    version=1,
    config=AtomPatchesConfig,
    inputs=AtomPatchesInputs,
    unit="atoms",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=lambda job, notes: next(iter(notes), {}),
    columns=(Column("atom", pa.int32()), *SHEET_TABLE_COLUMNS),
    commands=("directions",),
)


def step(config: Config, index: Step, examples: Step) -> Step | None:
    """The patches of one layer's atoms; None where images must stay private (``stitch.examples: 0``)."""
    if not config.stitch.examples:
        return None
    assert config.directions is not None
    return Step(
        stage=ATOM_PATCHES,
        config=AtomPatchesConfig(
            model=model_config(config),
            layer=str(examples.layer),
            num_shown=config.directions.num_shown,
            size_px=config.invert.size_px,
        ),
        inputs={"index": index, "examples": examples},
        settings=run_settings(config),
        layer=examples.layer,
    )
