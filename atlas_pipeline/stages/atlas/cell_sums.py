"""cell_sums: sum the activations that fall into each cell, over ranges of rows: the first half of binning.

All grids of a view share one streamed pass over the activations and attributions. Each range of rows is a
task of its own, so a cluster can run them in parallel; `bin` adds up the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import MemoryNeed, Needs
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.cells import CellSums, add_rows
from atlas_pipeline.tables.cell_sums_table import LOWER_GRID, SUM_BYTES, SUM_COLUMNS, sums_table
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.extent import Extent, if_large
from atlas_pipeline.tables.population import placed_rows, population
from atlas_pipeline.views.view import View

# A part holds up to one sum per cell. With ranges as small as the parts of a sample, the sums over a fine
# grid would take more disk than the sample. At 2^19 rows, four grids of 20 to 160 cells a side take at most
# an eighth of the sample's disk.
ROWS_PER_TASK = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSumsStepConfig:
    """size: cells along each side of the grid. attribution: whether attributions are summed as well."""

    size: int
    attribution: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSumsInputs:
    """The activations of a view, and their layout."""

    sample: Artefact
    project: Artefact
    select: Artefact | None = None


CellSumsJob = Job[CellSumsStepConfig, CellSumsInputs]


def _split(job: CellSumsJob) -> list[Task]:
    num_rows = job.inputs.project.num_rows
    starts = range(0, max(num_rows, 1), ROWS_PER_TASK)
    return [{"start": start, "stop": min(start + ROWS_PER_TASK, num_rows)} for start in starts]


def _compute(task: Task, jobs: Sequence[CellSumsJob], runtime: Runtime) -> list[Output]:
    sums = [CellSums(job.config.size) for job in jobs]
    inputs, attributed = jobs[0].inputs, jobs[0].config.attribution
    activations = population(inputs.sample, inputs.select)
    columns = ["activation", "attribution"] if attributed else ["activation"]
    for xy, rows in placed_rows(activations, inputs.project, columns, task["start"], task["stop"]):
        activation = column_matrix(rows, "activation")
        add_rows(sums, xy, activation, column_matrix(rows, "attribution") if attributed else None)
        runtime.advance(len(xy))
    # Free each grid's sums as soon as its table exists: at 1,000 classes a fine grid's sums fill the memory.
    return [Output(table=sums_table(sums.pop(0).partial())) for _ in jobs]


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    # Disk holds a float32 vector for each cell and range of rows. Memory holds float64 sums of all grids.
    known = [(step.config.size, extent) for step, extent in zip(steps, extents, strict=True) if extent]
    if not known:
        return Needs()
    numbers = [extent.cells_within(size) * extent.width for size, extent in known]
    num_tasks = -(-known[0][1].num_rows // ROWS_PER_TASK)
    num_bytes = (sum(numbers) + max(numbers)) * SUM_BYTES
    need = MemoryNeed(f"binning {steps[0].layer}", num_bytes, LOWER_GRID)
    return Needs(4 * num_tasks * sum(numbers), if_large(need))


CELL_SUMS = Stage(
    name="cell_sums",
    version=1,
    config=CellSumsStepConfig,
    inputs=CellSumsInputs,
    unit="rows",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=SUM_COLUMNS,
    commands=("bin",),
    needs=_needs,
)


def steps(config: Config, view: View, sample: Step, select: Step | None, layout: Step) -> dict[int, Step]:
    """One step per grid size; the missing ones share one pass over the activations."""
    return {
        size: Step(
            stage=CELL_SUMS,
            config=CellSumsStepConfig(size=size, attribution=config.sample.attribution != "none"),
            inputs={"sample": sample, "project": layout, **({"select": select} if select else {})},
            layer=layout.layer,
            view=view.name,
            grid=size,
            shared="cell_sums",
        )
        for size in view.grid.sizes
    }
