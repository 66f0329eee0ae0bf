"""tiles: write a grid for the viewer: icons in sheets, measures per cell, attribution per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts, by_role
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_stream, file_table
from atlas_pipeline.viewer.bands import band_of, num_bands
from atlas_pipeline.viewer.grid_files import GridNumbers, class_files, number_file, overview_files
from atlas_pipeline.viewer.measure_files import in_tiles
from atlas_pipeline.viewer.sprites import sheet_files, sheet_px


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesStepConfig:
    """labels: digest of the file of class labels. icon_px: side of an icon on a sheet."""

    model: Mapping[str, Any]
    labels: str | None
    icon_px: int
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesInputs:
    """The cells, their icons, and the measures of the icons that the run asks for."""

    bin: Artefact
    invert: Artefact
    yardsticks: Artefact | None = None
    judge: Artefact | None = None


TilesJob = Job[TilesStepConfig, TilesInputs]


def _compute(task: Task, jobs: Sequence[TilesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs.bin.num_rows:
        # A selection may have no icons: the viewer then shows its layout, and remarks of the run say why.
        return [Output(table=file_table({}))]
    files = _grid_files(job) if task["band"] is None else _sheets(job, task["band"]).items()
    folder = f"tiles-{job.config.grid}"
    runtime.advance(1)
    return [Output(table=file_stream((f"{folder}/{name}", content) for name, content in files))]


def _grid_files(job: TilesJob) -> Iterator[tuple[str, bytes]]:
    numbers = _numbers(job)
    yield "grid.js", number_file(numbers)
    yield from class_files(numbers)
    yield from overview_files(numbers, lambda: _icons(job)).items()


def _numbers(job: TilesJob) -> GridNumbers:
    from atlas_pipeline.models import class_labels

    cells, notes, inputs = job.inputs.bin, job.inputs.bin.notes, by_role(job.inputs)
    columns = cells.read(["row", "col", "count"])
    labels = class_labels(job.settings.model, notes["num_classes"])
    attributed = "attribution" in cells.schema.names
    return GridNumbers(
        grid=job.config.grid,
        px=job.config.icon_px,
        activations=notes["num_activations"],
        row=columns["row"].to_numpy(),
        col=columns["col"].to_numpy(),
        count=columns["count"].to_numpy(),
        measures={
            measure.name: inputs[measure.source].read([measure.name])[measure.name].to_numpy()
            for measure in in_tiles()
            if measure.source in inputs and measure.name in inputs[measure.source].schema.names
        },
        attribution=column_matrix(cells.read(["attribution"]), "attribution") if attributed else None,
        labels=[str(labels[c]) if labels else f"class {c}" for c in notes["classes"]] if attributed else [],
        class_indices=notes["classes"] if attributed else [],
    )


def _icons(job: TilesJob) -> Iterator[np.ndarray]:
    for part in job.inputs.invert.parts(["icon"]):
        yield from _on_paper(part["icon"])


def _on_paper(pngs: pa.ChunkedArray) -> Iterator[np.ndarray]:
    # Composite one icon at a time: a band of a fine grid would take gigabytes as floats.
    for png in pngs.to_pylist():
        yield over_ground(picture_of(png)[None], PAPER)[0]


def _sheets(job: TilesJob, band: int) -> dict[str, bytes]:
    start, stop = band_of(job.inputs.bin, band)
    if start == stop:
        return {}
    cells = job.inputs.bin.rows(start, stop, ["row", "col"])
    icons = _on_paper(job.inputs.invert.rows(start, stop, ["icon"])["icon"])
    rows, cols = (cells[name].to_numpy() for name in ("row", "col"))
    return sheet_files("icons", icons, rows, cols, job.config.icon_px)


def _split(job: TilesJob) -> list[Task]:
    return [{"band": None}, *({"band": band} for band in range(num_bands(job.config.grid)))]


TILES = Stage(
    name="tiles",
    version=3,
    config=TilesStepConfig,
    inputs=TilesInputs,
    unit="bands",
    split=_split,
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(grid={"tiles": artefact.num_rows > 0}),
)


def step(config: Config, cells: Step, icons: Step, measured: Mapping[str, Step]) -> Step:
    """The files of one grid that the viewer loads; measured: the further measures of its icons, by role."""
    return Step(
        stage=TILES,
        config=TilesStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            icon_px=sheet_px(config.invert.size_px),
            grid=int(cells.grid or 0),
        ),
        inputs={"bin": cells, "invert": icons, **measured},
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
