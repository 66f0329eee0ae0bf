"""atom_classes: divide the sampled attributions among the atoms, by their parts of each activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.atom_table import shown_atoms, strengths_of_table
from atlas_pipeline.tables.columns import column_matrix, matrix_column

_ROWS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomClassesConfig:
    """num_shown: atoms with pages."""

    num_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomClassesInputs:
    """The attributions of the layer's activations, the strengths of the atoms, and their shares."""

    sample: Artefact
    strengths: Artefact
    examples: Artefact


ClassesJob = Job[AtomClassesConfig, AtomClassesInputs]


def _compute(task: Task, jobs: Sequence[ClassesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    sample, shown = job.inputs.sample, shown_atoms(job.inputs.examples, job.config.num_shown)
    total, parts = (
        np.zeros((len(shown), sample.schema.field("attribution").type.list_size)),
        np.zeros(len(shown)),
    )
    for start in range(0, sample.num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, sample.num_rows)
        some = strengths_of_table(job.inputs.strengths.rows(start, stop))
        part = some.matrix(some.part, shown).astype(np.float64)
        attribution = column_matrix(sample.rows(start, stop, ["attribution"]), "attribution")
        total += part.T @ attribution.astype(np.float64)
        parts += part.sum(0)
        runtime.advance(stop - start)
    mean = total / np.where(parts > 0, parts, 1)[:, None]
    table = pa.table({"atom": shown.astype(np.int32), "attribution": matrix_column(mean.astype(np.float32))})
    return [Output(table=table, notes={"classes": sample.notes["classes"]})]


ATOM_CLASSES = Stage(
    name="atom_classes",
    version=1,
    config=AtomClassesConfig,
    inputs=AtomClassesInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(Column("atom", pa.int32()), Column("attribution", Vector((pa.float32(),), "class"))),
    commands=("directions",),
)


def step(config: Config, sample: Step, strengths: Step, examples: Step) -> Step | None:
    """The classes of one layer's atoms; None where the run samples no attributions."""
    if config.sample.attribution == "none":
        return None
    assert config.directions is not None
    return Step(
        stage=ATOM_CLASSES,
        config=AtomClassesConfig(num_shown=config.directions.num_shown),
        inputs={"sample": sample, "strengths": strengths, "examples": examples},
        layer=sample.layer,
    )
