"""unit_pages: write the file of each unit's page, and the list of a layer's units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.numerics.unit_state import UnitState
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.artefact_cache import once_per_artefact
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of, unit_tasks
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_stream
from atlas_pipeline.tables.unit_table import state_of
from atlas_pipeline.viewer.patch_sheets import NamedPatches
from atlas_pipeline.viewer.scripts import script
from atlas_pipeline.viewer.unit_files import (
    ICON_PX,
    LISTED_ICONS,
    UnitScaleOf,
    dead_words,
    list_file,
    sheet_of,
    strongest_classes,
    unit_numbers,
    weight_rows,
)

# The name of the folder, in place of a view.
UNITS = "units"
UNITS_PER_TASK = 64
# Classes that a unit's page names for it and against it, and those by which the search finds it.
NUM_CLASSES, NUM_AGAINST, NUM_LISTED = 6, 3, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPagesConfig:
    """units: empty for all. ranges: borders in sd. labels, label_column: the source of the labels' names."""

    model: Mapping[str, Any]
    layer: str
    units: Sequence[int]
    ranges: Sequence[float]
    labels: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPagesInputs:
    """The images, and all that is known of the layer's units."""

    index: Artefact
    spread: Artefact
    examples: Artefact
    patches: Artefact | None = None
    icons: Artefact | None = None
    classes: Artefact | None = None
    weights: Artefact | None = None
    ends: Artefact | None = None


PagesJob = Job[UnitPagesConfig, UnitPagesInputs]


def _numbers(job: PagesJob) -> list[int]:
    return numbers_of(job.config.units, job.inputs.examples.num_rows)


def _split(job: PagesJob) -> list[Task]:
    return unit_tasks(len(_numbers(job)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[PagesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    numbers = _numbers(job)
    units = numbers[task["start"] : task["stop"]]
    files = partial(_files, job, units, runtime)
    listed = _list_files(job, numbers) if task["start"] == 0 else iter(())
    return [Output(table=file_stream(chain(listed, files())))]


def _files(job: PagesJob, units: Sequence[int], runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    known = _known(job.inputs.examples, len(job.config.ranges) + 1)
    scales = _scales(job)
    patches, icons = _patches(job, known, units), _icons_of(job.inputs.icons, units)
    classes, weights = _classes(job), _Weights(job, units)
    for unit in units:
        values = {"layer": job.config.layer, **unit_numbers(known, unit, scales[unit])}
        values["patches"] = None if patches is None else patches.of(unit)
        values |= {"icons": _icon_sheet(icons.get(unit, {})), "weights": weights.of(unit)}
        values["classes"] = None if classes is None else classes.of(unit)
        yield f"unit-{unit}.js", script(values)
        runtime.advance(1)


@once_per_artefact(keep=1)
def _known(examples: Artefact, num_ranges: int) -> UnitState:
    return state_of(examples.read(), num_ranges)


def _scales(job: PagesJob) -> list[UnitScaleOf]:
    table = job.inputs.spread.read(["mean", "sd", "is_before_relu"])
    return [
        UnitScaleOf(mean=mean, sd=sd or 1.0, ranges=tuple(job.config.ranges), is_before_relu=is_before_relu)
        for mean, sd, is_before_relu in zip(*(column.to_pylist() for column in table.columns), strict=True)
    ]


def _patches(job: PagesJob, known: UnitState, units: Sequence[int]) -> NamedPatches | None:
    """The patches of the units; None where they must stay private."""
    patches = job.inputs.patches
    if patches is None:
        return None
    # Patches are in the order of the same choice of units.
    first, stop = (_numbers(job).index(unit) for unit in (units[0], units[-1]))
    rows = patches.rows(first, stop + 1)
    return NamedPatches(job.inputs.index, known, units, rows, patches.notes, job.settings)


def _icons_of(icons: Artefact | None, units: Sequence[int]) -> dict[int, dict[str, tuple[bytes, float]]]:
    """PNG and value of the icons of units, by unit and kind; the table is streamed."""
    found: dict[int, dict[str, tuple[bytes, float]]] = {}
    for part in () if icons is None else icons.parts():
        kept = part.filter(pc.is_in(part["unit"], value_set=pa.array(units, pa.int32())))
        for row in kept.to_pylist():
            found.setdefault(row["unit"], {})[row["kind"]] = row["icon"], row["value"]
    return found


def _icon_sheet(icons: Mapping[str, tuple[bytes, float]]) -> dict[str, Any] | None:
    if not icons:
        return None
    pictures = np.stack([_pixels(png) for png, _ in icons.values()])
    kinds = [[kind, float(f"{value:.4g}")] for kind, (_, value) in icons.items()]
    return {**sheet_of(pictures), "kinds": kinds}


def _pixels(png: bytes) -> np.ndarray:
    return over_ground(picture_of(png)[None], MID_GREY)[0]


class _Classes:
    """The classes that units speak for."""

    def __init__(self, job: PagesJob, classes: Artefact) -> None:
        from atlas_pipeline.models import class_labels

        table = classes.read()
        matrix = column_matrix(table, "attribution")
        self.attribution = dict(zip(table["unit"].to_pylist(), matrix, strict=True))
        labels = class_labels(job.settings.model, matrix.shape[1])
        self.labels = labels or tuple(f"class {number}" for number in range(matrix.shape[1]))

    def of(self, unit: int) -> dict[str, Any]:
        attribution = self.attribution[unit]
        return {
            side: [[self.labels[one], value] for one, value in strongest_classes(attribution, num, sign)]
            for side, num, sign in (("for", NUM_CLASSES, 1), ("against", NUM_AGAINST, -1))
        }


def _classes(job: PagesJob) -> _Classes | None:
    return None if job.inputs.classes is None else _Classes(job, job.inputs.classes)


class _Weights:
    """The strongest weights of units, with the icons of their other ends."""

    def __init__(self, job: PagesJob, units: Sequence[int]) -> None:
        self._notes: Mapping[str, Any] | None = None
        self._rows: dict[tuple[int, str], list[dict[str, Any]]] = {}
        self._icons: dict[tuple[str, int], bytes] = {}
        if job.inputs.weights is None:
            return
        self._notes = job.inputs.weights.notes
        table = job.inputs.weights.read()
        for row in table.filter(pc.is_in(table["unit"], value_set=pa.array(units, pa.int32()))).to_pylist():
            self._rows.setdefault((row["unit"], row["side"]), []).append(row)
        wanted = {(row["other_layer"], row["other_unit"]) for rows in self._rows.values() for row in rows}
        for part in () if job.inputs.ends is None else job.inputs.ends.parts():
            for row in part.to_pylist():
                if (end := (row["layer"], row["unit"])) in wanted:
                    self._icons[end] = row["icon"]

    def of(self, unit: int) -> dict[str, Any] | None:
        if self._notes is None:
            return None
        sides = {side: self._rows.get((unit, side), []) for side in ("before", "after")}
        ends = dict.fromkeys(
            end
            for rows in sides.values()
            for row in rows
            if (end := (row["other_layer"], row["other_unit"])) in self._icons
        )
        slots = {end: number for number, end in enumerate(ends)}
        icons = [resized(_pixels(self._icons[end]), ICON_PX) for end in ends]
        return {
            "icons": sheet_of(np.stack(icons)) if icons else None,
            **{
                side: {
                    "layer": self._notes[side],
                    "why": self._notes["why"].get(side, ""),
                    "list": weight_rows(rows, slots),
                }
                for side, rows in sides.items()
            },
        }


def _list_files(job: PagesJob, units: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """The list of a layer's units, and the sheets of their icons."""
    known, scales = _known(job.inputs.examples, len(job.config.ranges) + 1), _scales(job)
    classes = _classes(job)
    best: dict[int, list[int]] = {
        unit: [one for one, _ in strongest_classes(classes.attribution[unit], NUM_LISTED)] if classes else []
        for unit in units
    }
    has_icons = False
    for number, start in enumerate(range(0, len(units), LISTED_ICONS)):
        some = units[start : start + LISTED_ICONS]
        icons = {
            unit: found["neuron"][0]
            for unit, found in _icons_of(job.inputs.icons, some).items()
            if "neuron" in found
        }
        if len(icons) == len(some):
            has_icons = True
            pictures = np.stack([resized(_pixels(icons[unit]), ICON_PX) for unit in some])
            yield f"icons-{number}.js", script(sheet_of(pictures))
    listed = (
        {
            "unit": unit,
            "dead": bool(dead_words(known, unit, scales[unit].is_before_relu)),
            "firing": round(float(known.num_firing[unit] / max(1, known.num_images[unit])), 4),
            "classes": best[unit],
        }
        for unit in units
    )
    named = sorted({one for of_unit in best.values() for one in of_unit})
    yield (
        "list.js",
        list_file(
            job.config.layer,
            listed,
            labels={str(one): classes.labels[one] for one in named} if classes else {},
            icons=LISTED_ICONS if has_icons else 0,
        ),
    )


def _summarise(job: PagesJob, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    known, scales = _known(job.inputs.examples, len(job.config.ranges) + 1), _scales(job)
    units = _numbers(job)
    num_dead = sum(bool(dead_words(known, unit, scales[unit].is_before_relu)) for unit in units)
    return {"num_units": len(units), "num_dead": num_dead, "num_images": int(known.num_images.max(initial=0))}


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    notes = artefact.notes
    if not notes["num_dead"]:
        return []
    return [f"{step.layer}: {notes['num_dead']} of {notes['num_units']} units are dead; their pages say so"]


UNIT_PAGES = Stage(
    name="unit_pages",
    version=1,
    config=UnitPagesConfig,
    inputs=UnitPagesInputs,
    unit="units",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=FILES,
    commands=("units",),
    publishes=Publishes.FILE,
    remarks=_remarks,
)


def step(config: Config, index: Step, layer: str, inputs: Mapping[str, Step | None]) -> Step:
    """The pages of a layer's units. inputs: by role; roles that are None are left out."""
    assert config.units is not None
    return Step(
        stage=UNIT_PAGES,
        config=UnitPagesConfig(
            model=model_config(config),
            layer=layer,
            units=chosen_units(config, layer),
            ranges=config.units.ranges,
            labels=labels_digest(config),
            label_column=config.images.label_column,
        ),
        inputs={"index": index, **{role: one for role, one in inputs.items() if one is not None}},
        settings=run_settings(config),
        layer=layer,
        view=UNITS,
    )
