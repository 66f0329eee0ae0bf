"""atom_cells: average the atoms' strengths in each cell of the atlas, and what they leave over there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.tables.atom_table import shown_atoms, strengths_of_table
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.population import layout_xy

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomCellsConfig:
    """num_shown: atoms with pages. grid: of the cells."""

    num_shown: int
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomCellsInputs:
    """The layer's layout, the cells of its atlas, and the atoms' strengths and shares."""

    project: Artefact
    bin: Artefact
    strengths: Artefact
    examples: Artefact


CellsJob = Job[AtomCellsConfig, AtomCellsInputs]


def _compute(task: Task, jobs: Sequence[CellsJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    grid, inputs = job.config.grid, job.inputs
    shown = shown_atoms(inputs.examples, job.config.num_shown)
    cells = inputs.bin.read(["row", "col"])
    places = np.stack([cells["row"].to_numpy(), cells["col"].to_numpy()], axis=1)
    # The number of each cell in the bin's order; -1: it has too few activations for an icon.
    number = np.full(grid**2, -1)
    number[flat_cell(places, grid)] = np.arange(len(places))
    strength = np.zeros((len(places), len(shown)))
    left, energy, counts = (np.zeros(len(places)) for _ in range(3))
    for start in range(0, inputs.project.num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, inputs.project.num_rows)
        xy = layout_xy(inputs.project.rows(start, stop, ["x", "y"]))
        some = strengths_of_table(inputs.strengths.rows(start, stop))
        cell = number[flat_cell(cell_of(xy, grid), grid)]
        inside = cell >= 0
        np.add.at(strength, cell[inside], some.matrix(some.strength, shown)[inside])
        for total, values in (
            (left, some.left * some.energy),
            (energy, some.energy),
            (counts, np.ones(len(cell))),
        ):
            total += np.bincount(cell[inside], values[inside], len(places))
        runtime.advance(stop - start)
    table = pa.table(
        {
            "row": cells["row"],
            "col": cells["col"],
            "count": counts.astype(np.int32),
            "left": (left / np.where(energy > 0, energy, 1)).astype(np.float32),
            "strength": matrix_column((strength / counts.clip(min=1)[:, None]).astype(np.float32)),
        }
    )
    return [Output(table=table)]


ATOM_CELLS = Stage(
    name="atom_cells",
    version=1,
    config=AtomCellsConfig,
    inputs=AtomCellsInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.project.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("count", pa.int32()),
        Column("left", pa.float32()),
        Column("strength", Vector((pa.float32(),), "atom")),
    ),
    commands=("directions",),
)


def step(config: Config, layout: Step, cells: Step, strengths: Step, examples: Step) -> Step:
    """The cells of one grid of a layer's atlas."""
    assert config.directions is not None
    return Step(
        stage=ATOM_CELLS,
        config=AtomCellsConfig(num_shown=config.directions.num_shown, grid=int(cells.grid or 0)),
        inputs={"project": layout, "bin": cells, "strengths": strengths, "examples": examples},
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
