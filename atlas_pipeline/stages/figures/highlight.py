"""highlight: show one class's attribution as the opacity of a layer atlas's icons; no icon is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.config.views import Sign
from atlas_pipeline.document.atlas_json import atlas_json
from atlas_pipeline.document.class_document import document, written
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.highlight import opacity
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.pictures.figures import png_bytes, with_caption
from atlas_pipeline.pictures.highlight_figure import highlight_figure
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.tables.cell_attribution import attribution_to
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.views.class_figures import Highlight, highlights
from atlas_pipeline.views.view import slug


@dataclass(frozen=True, slots=True, kw_only=True)
class HighlightStepConfig:
    """class_, label: index and label of the logit. sign: ``positive`` shows evidence for the class."""

    model: Mapping[str, Any]
    class_: int
    label: str
    sign: Sign
    scale: Literal["density", "full"]
    icon_px: int
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HighlightInputs:
    """The cells of a layer atlas, and their icons."""

    bin: Artefact
    invert: Artefact


HighlightJob = Job[HighlightStepConfig, HighlightInputs]


def _compute(task: Task, jobs: Sequence[HighlightJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    sign, label, grid = job.config.sign, job.config.label, int(job.config.grid)
    attribution = attribution_to(job.inputs.bin, job.config.class_)
    shown = opacity(attribution, sign)
    strongest = written(attribution[[shown.argmax()]])[0] if shown.any() else 0.0
    name = f"highlight-{slug(label)}{'' if sign == 'positive' else f'-{sign}'}-{grid}"
    files = {
        f"{name}.png": _picture(job, shown, strongest),
        f"{name}.json": atlas_json(_document(job, attribution, shown, strongest)),
    }
    runtime.advance(len(shown))
    silent = None if strongest else _why_silent(job)
    return [Output(table=file_table(files), notes={"silent": silent})]


def _picture(job: HighlightJob, shown: np.ndarray, strongest: float) -> bytes:
    cells = job.inputs.bin.read(["row", "col", "count"])
    grid, label = job.config.grid, job.config.label
    for_or_against = "for" if job.config.sign == "positive" else "against"
    where = f"{job.layer}, {grid} × {grid} grid"
    picture = highlight_figure(
        over_ground(pixels(job.inputs.invert.read(["icon"])["icon"]), PAPER),
        cells["row"].to_numpy(),
        cells["col"].to_numpy(),
        cells["count"].to_numpy(),
        shown,
        grid_size=grid,
        icon_px=job.config.icon_px,
        scale=job.config.scale,
        title=f"{'What' if strongest else 'Nothing'} speaks {for_or_against} {label}",
        subtitle=f"{where}; opacity: a cell's mean attribution to {label}, logits"
        if strongest
        else f"{where}; {_why_silent(job)}",
        strongest=strongest,
    )
    caption = random_weights_caption(job)
    text = {**picture_text(job), "Title": f"{job.layer} {grid}: what speaks {for_or_against} {label}"}
    return png_bytes(with_caption(picture, caption) if caption else picture, text)


def _why_silent(job: HighlightJob) -> str:
    side = "above" if job.config.sign == "positive" else "below"
    return f"no cell's mean attribution to {job.config.label} is {side} 0"


def _document(
    job: HighlightJob, attribution: np.ndarray, shown: np.ndarray, strongest: float
) -> dict[str, Any]:
    cells = job.inputs.bin.read(["row", "col"])
    columns = {
        "row": cells["row"].to_pylist(),
        "col": cells["col"].to_pylist(),
        "attribution": [value if np.isfinite(value) else None for value in written(attribution)],
        "opacity": written(shown),
    }
    return document(
        job,
        sign=job.config.sign,
        layer=job.layer,
        view=job.view,
        grid=job.config.grid,
        strongest_attribution=strongest,
        cells=[dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    )


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    reason = artefact.notes["silent"]
    return [f"{step.layer}, grid {step.grid}: the highlight is empty, because {reason}"] if reason else []


HIGHLIGHT = Stage(
    name="highlight",
    version=2,
    config=HighlightStepConfig,
    inputs=HighlightInputs,
    unit="icons",
    split=lambda job: [{"icons": job.inputs.bin.num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
    columns=FILES,
    commands=("highlight",),
    publishes=Publishes.FIGURE,
    remarks=_remarks,
)


def steps(config: Config, cells: Step, icons: Step) -> Iterator[Step]:
    """The highlights that the config lists for the layer of one grid, as steps.

    Raises: ModelError, ConfigError: see ``highlights``.
    """
    for request in highlights(config):
        if cells.layer in request.layers:
            yield _step(config, request, cells, icons)


def _step(config: Config, request: Highlight, cells: Step, icons: Step) -> Step:
    return Step(
        stage=HIGHLIGHT,
        config=HighlightStepConfig(
            model=model_config(config),
            class_=request.index,
            label=request.label,
            sign=request.sign,
            scale=config.stitch.scale,
            icon_px=config.invert.size_px,
            grid=int(cells.grid or 0),
        ),
        inputs={"bin": cells, "invert": icons},
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
