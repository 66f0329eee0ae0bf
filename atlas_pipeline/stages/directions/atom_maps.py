"""atom_maps: draw on the atlas what no atom explains, and write the numbers of atoms and cells as tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.pictures.figures import png_bytes, with_caption
from atlas_pipeline.pictures.highlight_figure import highlight_figure
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.tables.atom_table import DIRECTIONS, shown_atoms
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_table

# Atoms that the table names for each cell.
_NUM_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomMapsConfig:
    """num_shown: atoms with pages. scale, icon_px: of the atlas's picture."""

    model: Mapping[str, Any]
    layer: str
    num_shown: int
    grid: int
    scale: Literal["density", "full"]
    icon_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomMapsInputs:
    """The atoms and their numbers, and the cells with their icons."""

    atoms: Artefact
    examples: Artefact
    cells: Artefact
    cell_icons: Artefact


MapsJob = Job[AtomMapsConfig, AtomMapsInputs]


def _compute(task: Task, jobs: Sequence[MapsJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    files = {
        f"unexplained-{job.config.grid}.png": _picture(job),
        "atoms.csv": _atoms_csv(job),
        f"cells-{job.config.grid}.csv": _cells_csv(job),
    }
    runtime.advance(1)
    return [Output(table=file_table(files))]


def _picture(job: MapsJob) -> bytes:
    cells, config, notes = job.inputs.cells.read(), job.config, job.inputs.examples.notes
    left = cells["left"].to_numpy().clip(0, 1)
    most = float(left.max(initial=0))
    picture = highlight_figure(
        over_ground(pixels(job.inputs.cell_icons.read(["icon"])["icon"]), PAPER),
        cells["row"].to_numpy(),
        cells["col"].to_numpy(),
        cells["count"].to_numpy(),
        left / (most or 1.0),
        grid_size=config.grid,
        icon_px=config.icon_px,
        scale=config.scale,
        title="What no atom explains",
        subtitle=(
            f"{job.layer}, {config.grid} × {config.grid} grid; opacity: share of a cell's energy that is "
            f"left over ({notes['left']:.0%} of all)"
        ),
        strongest=most,
    )
    caption = random_weights_caption(job)
    text = {**picture_text(job), "Title": f"{job.layer} {config.grid}: what no atom explains"}
    return png_bytes(with_caption(picture, caption) if caption else picture, text)


def _atoms_csv(job: MapsJob) -> bytes:
    table = job.inputs.examples.read(["atom", "share", "num_positive", "total"])
    num = max(1, job.inputs.examples.notes["num_activations"])
    columns = (column.to_pylist() for column in table.columns)
    rows = (
        [atom, f"{share:.6g}", f"{active / num:.6g}", f"{total / num:.6g}"]
        for atom, share, active, total in zip(*columns, strict=True)
    )
    return _csv(["atom", "share", "active", "mean_strength"], rows)


def _cells_csv(job: MapsJob) -> bytes:
    """The cells, from the one of which the atoms leave most over."""
    table = job.inputs.cells.read()
    strength = column_matrix(table, "strength")
    shown = shown_atoms(job.inputs.examples, job.config.num_shown)
    left = table["left"].to_numpy()
    row, col, count = (table[name].to_pylist() for name in ("row", "col", "count"))

    def named(cell: int) -> str:
        best = np.argsort(-strength[cell], kind="stable")[:_NUM_NAMED]
        return " ".join(str(shown[one]) for one in best if strength[cell, one] > 0)

    order = np.argsort(-left, kind="stable").tolist()
    rows = ([row[cell], col[cell], count[cell], f"{left[cell]:.6g}", named(cell)] for cell in order)
    return _csv(["row", "col", "count", "left", "strongest_atoms"], rows)


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(names)
    lines.writerows(rows)
    return text.getvalue().encode()


ATOM_MAPS = Stage(
    name="atom_maps",
    version=1,
    config=AtomMapsConfig,
    inputs=AtomMapsInputs,
    unit="layers",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=("directions",),
    publishes=Publishes.FIGURE,
)


def step(config: Config, atoms: Step, examples: Step, cells: Step, cell_icons: Step) -> Step:
    """The picture and the tables of one layer's atoms."""
    assert config.directions is not None
    return Step(
        stage=ATOM_MAPS,
        config=AtomMapsConfig(
            model=model_config(config),
            layer=str(cells.layer),
            num_shown=config.directions.num_shown,
            grid=int(cells.grid or 0),
            scale=config.stitch.scale,
            icon_px=config.invert.size_px,
        ),
        inputs={"atoms": atoms, "examples": examples, "cells": cells, "cell_icons": cell_icons},
        layer=cells.layer,
        view=DIRECTIONS,
    )
