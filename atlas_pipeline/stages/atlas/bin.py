"""bin: lay grids over a layout; each cell gets its count, its means and the similarity of its members.

Counts and means come from the partial sums of `cell_sums`. The members nearest the mean and their similarity
can be computed only after the mean. They take a second pass over the activations, which all grids of a view
share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, MemoryNeed, Needs, Vector, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError, counted
from atlas_pipeline.numerics.cell_members import CellMembers
from atlas_pipeline.numerics.cells import Cells
from atlas_pipeline.numerics.grid import fitting_grid, is_too_fine, largest_grid_with
from atlas_pipeline.tables.cell_sums_table import LOWER_GRID, SUM_BYTES, added_sums
from atlas_pipeline.tables.columns import EXAMPLE_TYPE, column_matrix, columns_of_measures, matrix_column
from atlas_pipeline.tables.extent import Extent, if_large
from atlas_pipeline.tables.population import layout_xy, placed_rows, population
from atlas_pipeline.views.view import View

NUM_EXAMPLES = 9
# A mean over fewer activations is hardly a mean.
LEAST_COUNT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class BinStepConfig:
    """size: cells along each side of the grid. min_count: fewest activations of a cell with an icon."""

    size: int
    min_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinInputs:
    """The activations of a view, their layout, and their sums per cell."""

    sample: Artefact
    project: Artefact
    cell_sums: Artefact
    select: Artefact | None = None


BinJob = Job[BinStepConfig, BinInputs]


def _compute(task: Task, jobs: Sequence[BinJob], runtime: Runtime) -> list[Output]:
    first = jobs[0]
    cells = [added_sums(job.inputs.cell_sums).cells(min_count=job.config.min_count) for job in jobs]
    empty = [_why_empty(grid_cells, job) for grid_cells, job in zip(cells, jobs, strict=True)]
    if first.inputs.select is None:
        for reason in filter(None, empty):
            raise ImagesError(reason)
    members = [CellMembers(grid_cells, num_examples=NUM_EXAMPLES) for grid_cells in cells]
    layout, num_rows = first.inputs.project, first.inputs.project.num_rows
    activations = population(first.inputs.sample, first.inputs.select)
    for xy, rows in placed_rows(activations, layout, ["activation"], 0, num_rows):
        activation = column_matrix(rows, "activation")
        for grid_members in members:
            grid_members.add(xy, activation)
        runtime.advance(len(xy))
    network = {key: first.inputs.sample.notes[key] for key in ("classes", "num_classes")}
    return [
        Output(
            table=_table(grid_cells, grid_members, layout),
            notes={
                **network,
                "num_activations": num_rows,
                "num_binned": int(grid_cells.count.sum()),
                "empty": reason,
            },
        )
        for grid_cells, grid_members, reason in zip(cells, members, empty, strict=True)
    ]


def _why_empty(cells: Cells, job: BinJob) -> str | None:
    """The reason why no cell of a grid gets an icon, and the remedy; None if a cell gets one."""
    if len(cells.row):
        return None
    size, min_count = job.config.size, job.config.min_count
    xy = layout_xy(job.inputs.project.read(["x", "y"]))
    where = f"layer '{job.layer}', {'' if job.view == 'all' else f'{job.view}, '}grid {size}"
    largest_size = largest_grid_with(xy, min_count, size)
    if largest_size == size:
        return (
            f"{where}: the mean activation of every cell is zero; "
            "the layer is silent on these images, take another layer"
        )
    if not largest_size:
        return (
            f"{where}: it has {counted(len(xy), 'activation')}, fewer than grid.min_count ({min_count}); "
            "lower grid.min_count or give more images"
        )
    return (
        f"{where}: no cell has grid.min_count ({min_count}) activations; grid.sizes={largest_size} would "
        "work, as would a lower grid.min_count or more images"
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
    """Convert (cell, example) row numbers, with -1 for none, to a list of images and positions per cell."""
    is_present = nearest >= 0
    offsets = np.concatenate([[0], np.cumsum(is_present.sum(axis=1))]).astype(np.int32)
    chosen = layout.read([field.name for field in EXAMPLE_TYPE]).take(pa.array(nearest[is_present]))
    structs = pa.StructArray.from_arrays(
        [chosen[field.name].combine_chunks() for field in EXAMPLE_TYPE], fields=list(EXAMPLE_TYPE)
    )
    return pa.ListArray.from_arrays(pa.array(offsets), structs)


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    """Estimate disk and memory; works before anything is sampled.

    Raises: ImagesError: the images give fewer activations than one cell needs.
    """
    # Disk holds a float32 vector for each cell. Memory holds the sums of one grid at a time, and a copy.
    known = [(step.config.size, extent) for step, extent in zip(steps, extents, strict=True) if extent]
    if not known:
        return Needs()
    num_rows, min_count = known[0][1].num_rows, steps[0].config.min_count
    if num_rows < min_count:
        raise ImagesError(
            f"the images give {counted(num_rows, 'activation')}, fewer than grid.min_count ({min_count}), so "
            f"no cell can have an icon; lower grid.min_count to {max(1, num_rows // 10)} or so, or give more "
            "images"
        )
    numbers = [extent.cells_within(size) * extent.width for size, extent in known]
    num_bytes = 2 * max(numbers) * SUM_BYTES
    need = MemoryNeed(f"binning {steps[0].layer}", num_bytes, LOWER_GRID)
    too_fine = [size for size, extent in known if is_too_fine(extent.num_rows, size, min_count)]
    warnings = (_few_icons(too_fine, num_rows, min_count),) if too_fine else ()
    return Needs(4 * sum(numbers), if_large(need), warnings)


def _few_icons(sizes: Sequence[int], num_rows: int, min_count: int) -> str:
    lower = min(min_count, LEAST_COUNT)
    return (
        f"grid.sizes {', '.join(map(str, sizes))}: of {counted(num_rows, 'activation')}, few cells or none "
        f"will have grid.min_count ({min_count}), and a grid without icons ends the run; "
        f"grid.sizes={fitting_grid(num_rows, lower)} with grid.min_count={lower} would suit them"
    )


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    """The reason why a grid over a selection has no icons; `select` itself reports an empty selection."""
    reason, num_activations = artefact.notes["empty"], artefact.notes["num_activations"]
    return [f"no icons: {reason}"] if reason and num_activations else []


BIN = Stage(
    name="bin",
    version=5,
    config=BinStepConfig,
    inputs=BinInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.project.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("count", pa.int32()),
        Column("activation", Vector((pa.float32(),), "channel")),
        Column("examples", pa.list_(EXAMPLE_TYPE)),
        Column("attribution", Vector((pa.float32(),), "class"), optional=True),
        *columns_of_measures("bin"),
    ),
    commands=("bin",),
    needs=_needs,
    remarks=_remarks,
    viewer=lambda artefact: ViewerFacts(
        view={"missing": artefact.notes["empty"]} if artefact.notes["empty"] else {}
    ),
)


def steps(
    view: View,
    sample: Step,
    select: Step | None,
    layout: Step,
    sums: Mapping[int, Step],
) -> dict[int, Step]:
    """One step per grid size; the missing ones share the second pass over the activations.

    A grid over a selection may have no cells. This is no error; the grid then has no icons.

    Args: sums: the steps of `cell_sums`, by grid size.
    """
    inputs = {"sample": sample, "project": layout, **({"select": select} if select else {})}
    return {
        size: Step(
            stage=BIN,
            config=BinStepConfig(size=size, min_count=view.grid.min_count),
            inputs={**inputs, "cell_sums": sums[size]},
            layer=layout.layer,
            view=view.name,
            grid=size,
            shared="bin",
            own_inputs=("cell_sums",),
        )
        for size in view.grid.sizes
    }
