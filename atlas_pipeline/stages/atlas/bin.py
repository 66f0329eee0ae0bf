"""bin: grids over a layout; per cell the count, the means, and how alike its members are.

The sums are those of `cell_sums`, added up. Which members are nearest the mean, and how alike they are, is
known only once the mean is: a second look at the activations alone, which all grids of a view share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config, GridConfig
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.numerics.cell_members import CellMembers
from atlas_pipeline.numerics.cells import Cells
from atlas_pipeline.numerics.grid import largest_grid_with
from atlas_pipeline.tables.cell_sums_table import added_sums
from atlas_pipeline.tables.columns import EXAMPLE_TYPE, column_matrix, matrix_column
from atlas_pipeline.tables.population import layout_xy, placed_rows

NUM_EXAMPLES = 9


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    first = jobs[0]
    cells = [added_sums(job.inputs["cell_sums"]).cells(min_count=job.config["min_count"]) for job in jobs]
    empty = [_why_empty(grid_cells, job) for grid_cells, job in zip(cells, jobs, strict=True)]
    if "select" not in first.inputs:
        for reason in filter(None, empty):
            raise ImagesError(reason)
    members = [CellMembers(grid_cells, num_examples=NUM_EXAMPLES) for grid_cells in cells]
    num_rows = first.inputs["project"].num_rows
    for xy, rows in placed_rows(first.inputs, ["activation"], 0, num_rows):
        activation = column_matrix(rows, "activation")
        for grid_members in members:
            grid_members.add(xy, activation)
        runtime.advance(len(xy))
    network = {key: first.inputs["sample"].notes[key] for key in ("classes", "num_classes")}
    return [
        Output(
            table=_table(grid_cells, grid_members, first.inputs["project"]),
            notes={
                **network,
                "num_activations": num_rows,
                "num_binned": int(grid_cells.count.sum()),
                "empty": reason,
            },
        )
        for grid_cells, grid_members, reason in zip(cells, members, empty, strict=True)
    ]


def _why_empty(cells: Cells, job: Job) -> str | None:
    """Why a grid has no cell with an icon, and what would work; None where it has one."""
    if len(cells.row):
        return None
    size, min_count = job.config["size"], job.config["min_count"]
    xy = layout_xy(job.inputs["project"].read(["x", "y"]))
    where = f"layer '{job.layer}', {'' if job.view == 'all' else f'{job.view}, '}grid {size}"
    works = largest_grid_with(xy, min_count, size)
    if works == size:
        return (
            f"{where}: the mean activation of every cell is zero; "
            "the layer is silent on these images, take another layer"
        )
    remedy = f"grid.sizes={works} would work" if works else f"there are only {len(xy)} activations in all"
    return (
        f"{where}: no cell has grid.min_count ({min_count}) activations; {remedy}, "
        f"or lower grid.min_count or give more images"
    )


def _table(cells: Cells, members: CellMembers, layout: Artefact) -> pa.Table:
    columns = {
        "row": pa.array(cells.row),
        "col": pa.array(cells.col),
        "count": pa.array(cells.count),
        "activation": matrix_column(cells.activation),
        "coherence": pa.array(members.coherence()),
        "nearest": pa.array(members.nearest()),
        "examples": _examples(members.examples(), layout),
    }
    if cells.attribution is not None:
        columns["attribution"] = matrix_column(cells.attribution)
        columns["consistency"] = pa.array(cells.consistency)
    return pa.table(columns)


def _examples(nearest: np.ndarray, layout: Artefact) -> pa.ListArray:
    """(cell, example) row numbers, -1 for none -> a list of image and position for each cell."""
    there = nearest >= 0
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    chosen = layout.read([field.name for field in EXAMPLE_TYPE]).take(pa.array(nearest[there]))
    structs = pa.StructArray.from_arrays(
        [chosen[field.name].combine_chunks() for field in EXAMPLE_TYPE], fields=list(EXAMPLE_TYPE)
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs)


BIN = Stage(
    name="bin",
    version=5,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["project"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def steps(config: Config, sample: Step, layout: Step, sums: Mapping[int, Step]) -> dict[int, Step]:
    """One step a grid size; those that are missing share the second look. sums: of `cell_sums`, by size."""
    return _steps(config, config.grid, {"sample": sample, "project": layout}, sums)


def view_steps(
    config: Config, grid: GridConfig, sample: Step, select: Step, layout: Step, sums: Mapping[int, Step]
) -> dict[int, Step]:
    """The same over a selection: a grid without cells is no error, but is left without icons."""
    return _steps(config, grid, {"sample": sample, "select": select, "project": layout}, sums)


def _steps(
    config: Config, grid: GridConfig, inputs: Mapping[str, Step], sums: Mapping[int, Step]
) -> dict[int, Step]:
    return {
        size: Step(
            stage=BIN,
            config={"size": size, "min_count": grid.min_count},
            inputs={**inputs, "cell_sums": sums[size]},
            layer=inputs["project"].layer,
            view=inputs["project"].view,
            grid=size,
            shared="bin",
            own_inputs=("cell_sums",),
        )
        for size in grid.sizes
    }


def why_empty(artefact: Artefact) -> str | None:
    """Why a grid over a selection has no icons, and what would work; None where it has some."""
    return artefact.notes["empty"]
