"""members: for each cell, some of its activations from the nearest to its mean to the farthest.

The nine nearest alone make every cell look pure. These show how far its members differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.cells import Cells
from atlas_pipeline.numerics.member_range import MemberRange
from atlas_pipeline.tables.columns import EXAMPLE_TYPE, POSITION_FIELDS, column_matrix
from atlas_pipeline.tables.population import placed_rows, population

NUM_MEMBERS = 7
MEMBER_TYPE = pa.struct([*POSITION_FIELDS, ("cosine", pa.float32())])


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersStepConfig:
    """size: cells along each side of the grid. num: members of a cell."""

    size: int
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersInputs:
    """The activations of a view, their layout, and their cells."""

    sample: Artefact
    project: Artefact
    bin: Artefact
    select: Artefact | None = None


MembersJob = Job[MembersStepConfig, MembersInputs]


def _compute(task: Task, jobs: Sequence[MembersJob], runtime: Runtime) -> list[Output]:
    inputs = jobs[0].inputs
    num_rows = inputs.project.num_rows
    ranges = [MemberRange(_cells(job), num_rows) for job in jobs]
    activations = population(inputs.sample, inputs.select)
    for xy, rows in placed_rows(activations, inputs.project, ["activation"], 0, num_rows):
        activation = column_matrix(rows, "activation")
        for one in ranges:
            one.add(xy, activation)
        runtime.advance(len(xy))
    return [
        Output(table=_table(job, *one.rows(job.config.num))) for job, one in zip(jobs, ranges, strict=True)
    ]


def _cells(job: MembersJob) -> Cells:
    columns = job.inputs.bin.read(["row", "col", "count", "activation"])
    return Cells(
        grid_size=job.config.size,
        row=columns["row"].to_numpy(),
        col=columns["col"].to_numpy(),
        count=columns["count"].to_numpy(),
        activation=column_matrix(columns, "activation"),
        attribution=None,
        consistency=None,
    )


def _table(job: MembersJob, rows: np.ndarray, cosines: np.ndarray) -> pa.Table:
    """The table of a grid; rows, cosines: (cell, member), rows -1 for none."""
    is_present = rows >= 0
    offsets = np.concatenate([[0], np.cumsum(is_present.sum(axis=1))]).astype(np.int32)
    names = [field.name for field in EXAMPLE_TYPE]
    chosen = job.inputs.project.read(names).take(pa.array(rows[is_present]))
    fields = [*(chosen[name].combine_chunks() for name in names), pa.array(cosines[is_present])]
    structs = pa.StructArray.from_arrays(fields, fields=list(MEMBER_TYPE))
    cells = job.inputs.bin.read(["row", "col"])
    return cells.append_column("members", pa.ListArray.from_arrays(pa.array(offsets), structs))


MEMBERS = Stage(
    name="members",
    version=1,
    config=MembersStepConfig,
    inputs=MembersInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.project.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("members", pa.list_(MEMBER_TYPE)),
    ),
    commands=("stitch",),
)


def steps(
    config: Config, sample: Step, select: Step | None, layout: Step, cells: Mapping[int, Step]
) -> dict[int, Step]:
    """One step a grid; one pass over the activations serves all grids of a view.

    None if ``stitch.examples`` is 0, because their patches are their only use. cells: the steps of `bin`, by
    grid size.
    """
    if not config.stitch.examples:
        return {}
    inputs = {"sample": sample, "project": layout, **({"select": select} if select else {})}
    return {
        size: Step(
            stage=MEMBERS,
            config=MembersStepConfig(size=size, num=NUM_MEMBERS),
            inputs={**inputs, "bin": grid_cells},
            layer=layout.layer,
            view=layout.view,
            grid=size,
            shared="members",
            own_inputs=("bin",),
        )
        for size, grid_cells in cells.items()
    }
