"""atom_strengths: find how much of each atom every activation is made of, and what the atoms leave over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Needs
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.extent import Extent

# Tasks and the blocks within them count from the first activation of all, so neither the parts of the sample
# nor the number of workers changes a strength.
ROWS_PER_TASK = 16384
# The rest, the energy, and the ends of three lists; a strength with its atom and its part.
_ROW_BYTES, _STRENGTH_BYTES = 24, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomStrengthsConfig:
    """num_active: most atoms of an activation; None: any number of them."""

    num_active: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomStrengthsInputs:
    """The layer's activations, and the atoms."""

    sample: Artefact
    atoms: Artefact


StrengthsJob = Job[AtomStrengthsConfig, AtomStrengthsInputs]
_TABLE = pa.schema(
    [
        ("atoms", pa.list_(pa.int32())),
        ("strengths", pa.list_(pa.float32())),
        ("parts", pa.list_(pa.float32())),
        ("left", pa.float32()),
        ("energy", pa.float64()),
    ]
)


def _split(job: StrengthsJob) -> list[Task]:
    num_rows = job.inputs.sample.num_rows
    return [
        {"start": start, "stop": min(start + ROWS_PER_TASK, num_rows)}
        for start in range(0, max(1, num_rows), ROWS_PER_TASK)
    ]


def _compute(task: Task, jobs: Sequence[StrengthsJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    return [Output(table=pa.RecordBatchReader.from_batches(_TABLE, _batches(task, job, runtime)))]


def _batches(task: Task, job: StrengthsJob, runtime: Runtime) -> Iterator[pa.RecordBatch]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from atlas_pipeline.numerics.atom_strengths import ROWS_AT_ONCE, strengths_of

    atoms = column_matrix(job.inputs.atoms.read(["direction"]), "direction")
    table = job.inputs.sample.rows(task["start"], task["stop"], ["activation"])
    activations = column_matrix(table, "activation")
    for start in range(0, len(activations), ROWS_AT_ONCE):
        rows = activations[start : start + ROWS_AT_ONCE]
        with threadpool_limits(1, user_api="blas"):
            found = strengths_of(rows, atoms, job.config.num_active)
        which, atom = np.nonzero(found.strength)
        offsets = pa.array(np.searchsorted(which, np.arange(len(rows) + 1)), pa.int32())
        lists = [
            pa.ListArray.from_arrays(offsets, pa.array(values, of_type))
            for values, of_type in (
                (atom, pa.int32()),
                (found.strength[which, atom], pa.float32()),
                (found.part[which, atom], pa.float32()),
            )
        ]
        yield pa.record_batch(
            [*lists, pa.array(found.left, pa.float32()), pa.array(found.energy, pa.float64())], schema=_TABLE
        )
        runtime.advance(len(rows))


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    disk_bytes = 0
    for step, extent in zip(steps, extents, strict=True):
        if extent is not None:
            most_active = step.config.num_active or step.inputs["atoms"].config.num_atoms or 0
            disk_bytes += extent.num_rows * (_ROW_BYTES + most_active * _STRENGTH_BYTES)
    return Needs(disk_bytes)


ATOM_STRENGTHS = Stage(
    name="atom_strengths",
    version=1,
    config=AtomStrengthsConfig,
    inputs=AtomStrengthsInputs,
    unit="rows",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=tuple(Column(field.name, field.type) for field in _TABLE),
    commands=("directions",),
    needs=_needs,
)


def step(config: Config, sample: Step, atoms: Step) -> Step:
    """The strengths in the activations of one layer."""
    assert config.directions is not None
    return Step(
        stage=ATOM_STRENGTHS,
        config=AtomStrengthsConfig(num_active=config.directions.most_active),
        inputs={"sample": sample, "atoms": atoms},
        layer=sample.layer,
    )
