"""atom_pages: write the file of each atom's page, the list of a layer's atoms, and its cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.numerics.unit_cells import strongest_cells
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.atom_table import DIRECTIONS, RANGES, shown_atoms
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_stream
from atlas_pipeline.tables.unit_table import state_of
from atlas_pipeline.viewer.patch_sheets import NamedPatches
from atlas_pipeline.viewer.scripts import packed, script
from atlas_pipeline.viewer.unit_files import (
    ICON_PX,
    LISTED_ICONS,
    UnitScaleOf,
    list_file,
    sheet_of,
    strongest_classes,
    unit_numbers,
)

# Classes named for an atom and against it, and those by which the search finds it.
NUM_CLASSES, NUM_AGAINST, NUM_LISTED = 6, 3, 3
# Cells named on an atom's page, and cells of which most is left over.
NUM_CELLS, NUM_LEFT = 6, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomPagesConfig:
    """num_shown: atoms with pages. grid: of the cells. labels, label_column: the source of labels' names."""

    model: Mapping[str, Any]
    layer: str
    num_shown: int
    grid: int
    labels: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomPagesInputs:
    """The images, what is known of the layer's atoms, and the icons of the atlas's cells."""

    index: Artefact
    atoms: Artefact
    examples: Artefact
    cells: Artefact
    cell_icons: Artefact
    icons: Artefact
    patches: Artefact | None = None
    classes: Artefact | None = None


PagesJob = Job[AtomPagesConfig, AtomPagesInputs]


def _compute(task: Task, jobs: Sequence[PagesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    notes = {name: job.inputs.examples.notes[name] for name in ("left", "num_images", "num_activations")}
    shown = shown_atoms(job.inputs.examples, job.config.num_shown)
    positive = job.inputs.examples.read(["num_positive"])["num_positive"].to_numpy()
    return [
        Output(
            table=file_stream(_files(job, shown, runtime)),
            notes={
                **notes,
                **job.inputs.atoms.notes,
                "num_atoms": job.inputs.atoms.num_rows,
                "num_shown": len(shown),
                "num_dead": int((positive[shown] == 0).sum()),
            },
        )
    ]


def _files(job: PagesJob, shown: np.ndarray, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    cells, icons, classes = _Cells(job), _icons(job), _Classes(job)
    yield from _list_files(job, shown, cells, icons, classes)
    state, scales = state_of(job.inputs.examples.read(), len(RANGES) + 1), _scales(job)
    shares = job.inputs.examples.read(["share"])["share"].to_numpy()
    patches = job.inputs.patches
    named = None
    if patches is not None:
        named = NamedPatches(
            job.inputs.index, state, shown.tolist(), patches.read(), patches.notes, job.settings
        )
    for column, atom in enumerate(shown.tolist()):
        values = unit_numbers(state, atom, scales[atom])
        values |= {
            "layer": job.config.layer,
            "share": _short(shares[atom]),
            "activations": job.inputs.examples.notes["num_activations"],
            "dead": "" if state.num_positive[atom] else _why_dead(job, atom not in icons),
            "patches": None if named is None else named.of(atom),
            "classes": classes.of(column),
            "icons": _icon(icons.get(atom)),
            "cells": cells.of(column),
        }
        yield f"atom-{atom}.js", script(values)
        runtime.advance(1)


def _why_dead(job: PagesJob, is_zero: bool) -> str:
    if is_zero:
        return "This atom is dead: its direction is zero in every channel."
    num = job.inputs.examples.notes["num_activations"]
    return f"This atom is dead: none of {num:,} sampled activations has any of it."


def _scales(job: PagesJob) -> list[UnitScaleOf]:
    table = job.inputs.atoms.read(["mean", "sd"])
    return [
        UnitScaleOf(mean=mean, sd=sd or 1.0, ranges=RANGES, is_before_relu=False)
        for mean, sd in zip(*(column.to_pylist() for column in table.columns), strict=True)
    ]


def _icons(job: PagesJob) -> dict[int, tuple[np.ndarray, float]]:
    """Picture (side, side, 3) and fidelity of each icon, by atom."""
    table = job.inputs.icons.read()
    return {
        atom: (_picture(icon), fidelity)
        for atom, icon, fidelity in zip(*(column.to_pylist() for column in table.columns), strict=True)
    }


def _picture(png: bytes) -> np.ndarray:
    return over_ground(picture_of(png)[None], MID_GREY)[0]


def _icon(icon: tuple[np.ndarray, float] | None) -> dict[str, Any] | None:
    return None if icon is None else {**sheet_of(icon[0][None]), "fidelity": round(icon[1], 3)}


class _Classes:
    """The classes that atoms speak for; none where the run samples no attributions."""

    def __init__(self, job: PagesJob) -> None:
        from atlas_pipeline.models import class_labels

        self._attribution, self.labels = None, list[str]()
        if job.inputs.classes is None:
            return
        self._attribution = column_matrix(job.inputs.classes.read(), "attribution")
        numbers = job.inputs.classes.notes["classes"]
        labels = class_labels(job.settings.model, max(numbers, default=-1) + 1)
        self.labels = [labels[number] if labels else f"class {number}" for number in numbers]

    def best(self, column: int, num: int, sign: int = 1) -> list[tuple[int, float]]:
        return [] if self._attribution is None else strongest_classes(self._attribution[column], num, sign)

    def of(self, column: int) -> dict[str, Any] | None:
        if self._attribution is None:
            return None
        return {
            side: [[self.labels[one], value] for one, value in self.best(column, num, sign)]
            for side, num, sign in (("for", NUM_CLASSES, 1), ("against", NUM_AGAINST, -1))
        }


class _Cells:
    """The cells of the atlas: strength of each atom, and the share left over."""

    def __init__(self, job: PagesJob) -> None:
        table = job.inputs.cells.read()
        self.grid = job.config.grid
        self.row, self.col, self.count, self.left = (
            table[name].to_numpy() for name in ("row", "col", "count", "left")
        )
        self.strength = column_matrix(table, "strength")
        self._best = strongest_cells(self.strength, NUM_CELLS)
        pngs = job.inputs.cell_icons.read(["row", "col", "icon"])
        columns = (column.to_pylist() for column in pngs.columns)
        self._icons = {(row, col): icon for row, col, icon in zip(*columns, strict=True)}

    def of(self, column: int) -> dict[str, Any]:
        """The cells where an atom is strongest, as [row, col, mean strength, slot in the sheet]."""
        cells = [cell for cell in self._best[column].tolist() if self.strength[cell, column] > 0]
        listed = [
            [*self.place(cell), _short(self.strength[cell, column]), slot] for slot, cell in enumerate(cells)
        ]
        return {"list": listed, "icons": self.sheet(cells)}

    def place(self, cell: int) -> list[int]:
        return [int(self.row[cell]), int(self.col[cell])]

    def sheet(self, cells: Sequence[int]) -> dict[str, Any] | None:
        pictures = [resized(_picture(self._icons[self.row[cell], self.col[cell]]), ICON_PX) for cell in cells]
        return sheet_of(np.stack(pictures)) if pictures else None

    def maps(self) -> dict[str, Any]:
        """The maps of all atoms and of what is left over, as levels of 255, the largest of each atom."""
        most = self.strength.max(axis=0, initial=0)
        levels = np.rint(255 * self.strength / np.where(most > 0, most, 1)).astype(np.uint8)
        worst = np.argsort(-self.left, kind="stable")[:NUM_LEFT].tolist()
        return {
            "grid": self.grid,
            "row": packed(self.row.astype(np.uint16)),
            "col": packed(self.col.astype(np.uint16)),
            "levels": packed(levels.T.copy()),
            "left": packed(np.rint(255 * self.left.clip(0, 1)).astype(np.uint8)),
            "worst": [[*self.place(cell), _short(self.left[cell]), int(self.count[cell])] for cell in worst],
            "icons": self.sheet(worst),
        }


def _list_files(
    job: PagesJob, shown: np.ndarray, cells: _Cells, icons: Mapping[int, Any], classes: _Classes
) -> Iterator[tuple[str, bytes]]:
    blank = np.full((ICON_PX, ICON_PX, 3), MID_GREY, np.uint8)
    small = [resized(icons[atom][0], ICON_PX) if atom in icons else blank for atom in shown.tolist()]
    for number, start in enumerate(range(0, len(small), LISTED_ICONS)):
        yield f"icons-{number}.js", script(sheet_of(np.stack(small[start : start + LISTED_ICONS])))
    yield "cells.js", script(cells.maps())
    table = job.inputs.examples.read(["share", "num_positive"]).take(pa.array(shown))
    num = max(1, job.inputs.examples.notes["num_activations"])
    best = [[one for one, _ in classes.best(column, NUM_LISTED)] for column in range(len(shown))]
    listed = (
        {
            "unit": atom,
            "dead": not active,
            "share": _short(share),
            "firing": _short(active / num),
            "classes": of,
        }
        for atom, share, active, of in zip(
            shown.tolist(), table["share"].to_pylist(), table["num_positive"].to_pylist(), best, strict=True
        )
    )
    named = sorted({one for of_atom in best for one in of_atom})
    labels = {str(one): classes.labels[one] for one in named}
    yield "list.js", list_file(job.config.layer, listed, labels=labels, icons=LISTED_ICONS)


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


ATOM_PAGES = Stage(
    name="atom_pages",
    version=1,
    config=AtomPagesConfig,
    inputs=AtomPagesInputs,
    unit="atoms",
    split=lambda job: [{"atoms": min(job.config.num_shown, job.inputs.atoms.num_rows)}],
    size=lambda task: task["atoms"],
    compute=_compute,
    columns=FILES,
    commands=("directions",),
    publishes=Publishes.FILE,
)


def step(config: Config, inputs: Mapping[str, Step | None], cells: Step) -> Step:
    """The pages of one layer's atoms. inputs: by role; roles that are None are left out."""
    assert config.directions is not None
    return Step(
        stage=ATOM_PAGES,
        config=AtomPagesConfig(
            model=model_config(config),
            layer=str(cells.layer),
            num_shown=config.directions.num_shown,
            grid=int(cells.grid or 0),
            labels=labels_digest(config),
            label_column=config.images.label_column,
        ),
        inputs={role: one for role, one in inputs.items() if one is not None},
        settings=run_settings(config),
        layer=cells.layer,
        view=DIRECTIONS,
    )
