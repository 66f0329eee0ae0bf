"""deep_zoom: write the atlas picture as Deep Zoom tiles, for viewers other than ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_picture import atlas_picture, num_threads, picture_bytes
from atlas_pipeline.document.provenance import picture_text
from atlas_pipeline.engine.declaration import FILES, Needs, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.mosaic import icon_px_within
from atlas_pipeline.pictures.pyramid import dzi, tile_files
from atlas_pipeline.tables.files import file_stream, file_table


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepZoomStepConfig:
    """The settings of the atlas picture, and the format of the tiles."""

    model: Mapping[str, Any]
    scale: str
    icon_px: int
    grid: int
    axis: Sequence[str] | None = None
    format: Literal["jpg", "png", "webp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepZoomInputs:
    """The cells and their icons; for a comparison also its selection, which has the axis."""

    select: Artefact | None = None
    bin: Artefact
    invert: Artefact


DeepZoomJob = Job[DeepZoomStepConfig, DeepZoomInputs]


def _compute(task: Task, jobs: Sequence[DeepZoomJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs.bin.num_rows:
        # A selection may have no icons; remarks of the run give the reason.
        return [Output(table=file_table({}))]
    return [Output(table=file_stream(_files(job, runtime)))]


def _files(job: DeepZoomJob, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    grid, tile_format = int(job.config.grid), job.config.format
    picture = atlas_picture(job, icon_px_within(grid, job.config.icon_px), runtime)
    text = picture_text(job)
    note = f"{text['Title']}; {text['Weights']}; {text['Software']}, fingerprint {job.fingerprint}"
    yield f"atlas-{grid}.dzi", dzi(picture.width, picture.height, tile_format, note)
    tiles = tile_files(picture.bands, picture.width, picture.height, tile_format, num_threads(runtime))
    yield from ((f"atlas-{grid}_files/{name}", tile) for name, tile in tiles)


def _needs(steps: Sequence[Step], extents: Sequence[Any]) -> Needs:
    return Needs(sum(picture_bytes(s.config.grid, s.config.icon_px, s.config.format) for s in steps))


DEEP_ZOOM = Stage(
    name="deep_zoom",
    version=1,
    config=DeepZoomStepConfig,
    inputs=DeepZoomInputs,
    unit="icons",
    split=lambda job: [{"icons": job.inputs.bin.num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.FILE,
    needs=_needs,
)


def steps(config: Config, atlas: Step) -> Iterator[Step]:
    """The tiles of a stitched atlas; none unless ``stitch.deep_zoom`` is set."""
    if not config.stitch.deep_zoom:
        return
    picture = atlas.config
    yield Step(
        stage=DEEP_ZOOM,
        config=DeepZoomStepConfig(
            model=picture.model,
            scale=picture.scale,
            icon_px=picture.icon_px,
            grid=picture.grid,
            axis=picture.axis,
            format=config.stitch.deep_zoom_format,
        ),
        inputs={role: step for role, step in atlas.inputs.items() if role in ("select", "bin", "invert")},
        layer=atlas.layer,
        view=atlas.view,
        grid=atlas.grid,
    )
