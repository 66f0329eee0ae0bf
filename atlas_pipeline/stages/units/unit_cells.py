"""unit_cells: list the atlas's cells where each unit is strongest, and each cell's strongest units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.numerics.unit_cells import spread_of_cells, strongest_cells, strongest_units
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.viewer.scripts import script
from atlas_pipeline.viewer.unit_files import ICON_PX, sheet_of

NUM_CELLS, NUM_UNITS = 6, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCellsConfig:
    """units: those with pages; empty for all. grid: of the cells."""

    units: Sequence[int]
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCellsInputs:
    """The cells of the layer's atlas, and their icons."""

    bin: Artefact
    icons: Artefact


CellsJob = Job[UnitCellsConfig, UnitCellsInputs]


def _compute(task: Task, jobs: Sequence[CellsJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    cells = job.inputs.bin.read(["row", "col", "count", "activation"])
    runtime.advance(1)
    if not cells.num_rows:
        return [Output(table=file_table({}), notes={"has_cells": False})]
    places = list(zip(cells["row"].to_pylist(), cells["col"].to_pylist(), strict=True))
    means = column_matrix(cells, "activation").astype(np.float32)
    units = numbers_of(job.config.units, means.shape[1])
    best = strongest_cells(means[:, units], NUM_CELLS)
    mean, sd = spread_of_cells(means[:, units], cells["count"].to_numpy())
    # A cell names only units that have a page.
    of_cells = np.array(units)[strongest_units(means[:, units], mean, sd, NUM_UNITS)]
    shown = sorted({int(cell) for cell in best.ravel()})
    icons = _icons(job)
    sheet = np.stack([_picture(icons[places[cell]]) for cell in shown])
    slot = {cell: number for number, cell in enumerate(shown)}
    value: dict[str, Any] = {
        "grid": job.config.grid,
        "icons": sheet_of(sheet),
        "units": {
            str(unit): [
                [*places[cell], round(float(means[cell, unit]), 4), slot[cell]]
                for cell in of_unit.tolist()
                if means[cell, unit] > 0
            ]
            for unit, of_unit in zip(units, best, strict=True)
        },
        "cells": {f"{row}.{col}": of_cells[cell].tolist() for cell, (row, col) in enumerate(places)},
    }
    return [Output(table=file_table({"unit-cells.js": script(value)}), notes={"has_cells": True})]


def _icons(job: CellsJob) -> dict[tuple[int, int], bytes]:
    """PNG of each cell's icon, by row and column."""
    table = job.inputs.icons.read(["row", "col", "icon"])
    rows, cols, icons = (column.to_pylist() for column in table.columns)
    return dict(zip(zip(rows, cols, strict=True), icons, strict=True))


def _picture(png: bytes) -> np.ndarray:
    return resized(over_ground(picture_of(png)[None], MID_GREY)[0], ICON_PX)


UNIT_CELLS = Stage(
    name="unit_cells",
    version=1,
    config=UnitCellsConfig,
    inputs=UnitCellsInputs,
    unit="grids",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    # Not of `atlas units`: that command shall not make an atlas.
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(
        view={"units": artefact.notes["has_cells"] and artefact.config["grid"]}
    ),
)


def step(config: Config, layer: str, cells: Mapping[int, Step], icons: Mapping[int, Step]) -> Step:
    """The cells of the finest grid of a layer's atlas. cells, icons: by grid size."""
    finest = max(icons)
    return Step(
        stage=UNIT_CELLS,
        config=UnitCellsConfig(units=chosen_units(config, layer), grid=finest),
        inputs={"bin": cells[finest], "icons": icons[finest]},
        layer=layer,
        view=cells[finest].view,
    )
