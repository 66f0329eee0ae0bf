"""cell_sums: what falls into the cells of each grid, summed over a range of rows: the first half of binning.

All grids of a view come from one streamed pass over the activations and attributions: their steps share it.
The ranges are tasks of their own, so the pass spreads over a cluster; `bin` adds the sums up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atlas_pipeline.config.sections import Config, GridConfig
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.cells import CellSums, add_rows
from atlas_pipeline.tables.cell_sums_table import sums_table
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.population import placed_rows

# A part holds up to a sum a cell: with ranges as small as the parts of a sample the sums over a fine grid
# would take more disk than the sample. At 2^19 rows four grids of 20 to 160 take an eighth of it at most.
ROWS_A_TASK = 1 << 19


def _split(job: Job) -> list[Task]:
    num_rows = job.inputs["project"].num_rows
    starts = range(0, max(num_rows, 1), ROWS_A_TASK)
    return [{"start": start, "stop": min(start + ROWS_A_TASK, num_rows)} for start in starts]


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    sums = [CellSums(job.config["size"]) for job in jobs]
    attributed = jobs[0].config["attribution"]
    columns = ["activation", "attribution"] if attributed else ["activation"]
    for xy, rows in placed_rows(jobs[0].inputs, columns, task["start"], task["stop"]):
        activation = column_matrix(rows, "activation")
        add_rows(sums, xy, activation, column_matrix(rows, "attribution") if attributed else None)
        runtime.advance(len(xy))
    # One by one let go: at 1,000 classes the sums of a fine grid are what fills the memory.
    return [Output(table=sums_table(sums.pop(0).partial())) for _ in jobs]


CELL_SUMS = Stage(
    name="cell_sums",
    version=1,
    unit="rows",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
)


def steps(config: Config, grid: GridConfig, sample: Step, layout: Step) -> dict[int, Step]:
    """One step a grid size of a layer; those that are missing share one pass over the sample."""
    return _steps(config, grid, {"sample": sample, "project": layout})


def view_steps(config: Config, grid: GridConfig, sample: Step, select: Step, layout: Step) -> dict[int, Step]:
    """The same over a selection."""
    return _steps(config, grid, {"sample": sample, "select": select, "project": layout})


def _steps(config: Config, grid: GridConfig, inputs: Mapping[str, Step]) -> dict[int, Step]:
    return {
        size: Step(
            stage=CELL_SUMS,
            config={"size": size, "attribution": config.sample.attribution != "none"},
            inputs=inputs,
            layer=inputs["project"].layer,
            view=inputs["project"].view,
            grid=size,
            shared="cell_sums",
        )
        for size in grid.sizes
    }
