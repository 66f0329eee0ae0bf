"""stitch: assemble the icons of a grid into the atlas picture; write the atlas as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_document import document_pieces
from atlas_pipeline.document.atlas_picture import atlas_picture, num_threads, picture_bytes
from atlas_pipeline.document.provenance import picture_text
from atlas_pipeline.engine.declaration import FILES, Needs, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task, ignore
from atlas_pipeline.numerics.mosaic import icon_px_within
from atlas_pipeline.pictures.png_stream import png_pieces
from atlas_pipeline.tables.files import file_stream, file_table
from atlas_pipeline.views.view import View

# A page with larger pictures opens slowly. It shows a smaller copy that links to the full picture.
LARGEST_ON_PAGE_PX, PREVIEW_PX, SMALLEST_VIEW_PX = 8000, 4000, 640


@dataclass(frozen=True, slots=True, kw_only=True)
class StitchStepConfig:
    """labels: digest of the file of class labels. axis: labels of a comparison. label: of a class atlas."""

    model: Mapping[str, Any]
    labels: str | None
    scale: str
    icon_px: int
    grid: int
    axis: Sequence[str] | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StitchInputs:
    """The images, the layout, the cells, their icons, and the measures that the run asks for."""

    index: Artefact
    select: Artefact | None = None
    project: Artefact
    bin: Artefact
    invert: Artefact
    yardsticks: Artefact | None = None
    judge: Artefact | None = None


StitchJob = Job[StitchStepConfig, StitchInputs]


def _compute(task: Task, jobs: Sequence[StitchJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs.bin.num_rows:
        # A selection may have no icons; remarks of the run give the reason.
        return [Output(table=file_table({}))]
    return [Output(table=file_stream(_files(job, runtime)))]


def _files(job: StitchJob, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    grid = int(job.config.grid)
    icon_px = icon_px_within(grid, job.config.icon_px)
    yield from ((f"atlas-{grid}.png", piece) for piece in _picture(job, icon_px, runtime))
    yield from ((f"atlas-{grid}.json", piece) for piece in document_pieces(job, icon_px))
    if grid * icon_px > LARGEST_ON_PAGE_PX:
        small_px, silent = icon_px_within(grid, icon_px, PREVIEW_PX), replace(runtime, advance=ignore)
        yield from ((f"atlas-{grid}-preview.png", piece) for piece in _picture(job, small_px, silent))


def _picture(job: StitchJob, icon_px: int, runtime: Runtime) -> Iterator[bytes]:
    picture = atlas_picture(job, icon_px, runtime)
    return png_pieces(picture.bands, picture.width, picture.height, picture_text(job), num_threads(runtime))


def _needs(steps: Sequence[Step], extents: Sequence[Any]) -> Needs:
    return Needs(sum(picture_bytes(step.config.grid, step.config.icon_px, "png") for step in steps))


STITCH = Stage(
    name="stitch",
    version=3,
    config=StitchStepConfig,
    inputs=StitchInputs,
    unit="icons",
    split=lambda job: [{"icons": job.inputs.bin.num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.ATLAS,
    needs=_needs,
)


def step(
    config: Config,
    view: View,
    index: Step,
    select: Step | None,
    layout: Step,
    cells: Step,
    icons: Step,
    measured: Mapping[str, Step],
) -> Step:
    """The atlas of one grid of a view; measured: the further measures of its icons, by role."""
    grid, icon_px = int(cells.grid or 1), config.invert.size_px
    if select is not None:
        # A selection has few cells. Its icons are enlarged by a whole factor to keep the captions readable.
        icon_px *= max(1, round(SMALLEST_VIEW_PX / (grid * icon_px)))
    return Step(
        stage=STITCH,
        config=StitchStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            scale=config.stitch.scale,
            icon_px=icon_px,
            grid=grid,
            axis=view.axis,
            label=view.label,
        ),
        inputs={
            "index": index,
            **({"select": select} if select else {}),
            "project": layout,
            "bin": cells,
            "invert": icons,
            **measured,
        },
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=grid,
    )
