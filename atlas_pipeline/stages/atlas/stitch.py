"""stitch: the icons of a grid into the atlas picture, and the atlas as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from atlas_pipeline.config.network import labels_digest, model_config, model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_document import document_pieces
from atlas_pipeline.document.atlas_picture import atlas_picture, num_threads
from atlas_pipeline.document.provenance import picture_text
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task, ignore
from atlas_pipeline.numerics.mosaic import icon_px_within
from atlas_pipeline.pictures.png_stream import png_pieces
from atlas_pipeline.tables.files import file_stream, file_table

# A page with larger pictures is slow to open: it shows a smaller copy, and links to the whole.
LARGEST_ON_PAGE_PX, PREVIEW_PX, SMALLEST_VIEW_PX = 8000, 4000, 640


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs["bin"].num_rows:
        # A selection without icons: the run says why.
        return [Output(table=file_table({}))]
    return [Output(table=file_stream(_files(job, runtime)))]


def _files(job: Job, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    grid = int(job.config["grid"])
    icon_px = icon_px_within(grid, job.config["icon_px"])
    yield from ((f"atlas-{grid}.png", piece) for piece in _picture(job, icon_px, runtime))
    yield from ((f"atlas-{grid}.json", piece) for piece in document_pieces(job, icon_px))
    if grid * icon_px > LARGEST_ON_PAGE_PX:
        small, unseen = icon_px_within(grid, icon_px, PREVIEW_PX), replace(runtime, advance=ignore)
        yield from ((f"atlas-{grid}-preview.png", piece) for piece in _picture(job, small, unseen))


def _picture(job: Job, icon_px: int, runtime: Runtime) -> Iterator[bytes]:
    picture = atlas_picture(job, icon_px, runtime)
    return png_pieces(picture.bands, picture.width, picture.height, picture_text(job), num_threads(runtime))


STITCH = Stage(
    name="stitch",
    version=2,
    unit="icons",
    split=lambda job: [{"icons": job.inputs["bin"].num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
)


def step(config: Config, index: Step, layout: Step, cells: Step, icons: Step) -> Step:
    """The atlas of one grid."""
    return _step(config, {"index": index, "project": layout, "bin": cells, "invert": icons})


def view_step(
    config: Config,
    index: Step,
    select: Step,
    layout: Step,
    cells: Step,
    icons: Step,
    axis: tuple[str, str] | None = None,
    label: str | None = None,
) -> Step:
    """The atlas of one grid over a selection.

    Args: axis: the names of a comparison's classes. label: of a class atlas's class.
    """
    inputs = {"index": index, "select": select, "project": layout, "bin": cells, "invert": icons}
    named: dict[str, Any] = {"axis": list(axis)} if axis else {"label": label} if label else {}
    return _step(config, inputs, named)


def _step(config: Config, inputs: Mapping[str, Step], more: Mapping[str, Any] | None = None) -> Step:
    cells = inputs["bin"]
    grid, icon_px = int(cells.grid or 1), config.invert.size_px
    if "select" in inputs:
        # Few cells of small icons: whole multiples, until the words beneath can be read.
        icon_px *= max(1, round(SMALLEST_VIEW_PX / (grid * icon_px)))
    return Step(
        stage=STITCH,
        config={
            "model": model_config(config),
            "labels": labels_digest(config),
            "scale": config.stitch.scale,
            "icon_px": icon_px,
            "grid": grid,
            **(more or {}),
        },
        inputs=inputs,
        settings={"model": model_spec(config)},
        layer=cells.layer,
        view=cells.view,
        grid=grid,
    )
