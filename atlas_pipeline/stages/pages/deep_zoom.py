"""deep_zoom: the atlas picture as Deep Zoom tiles, for viewers other than ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_picture import atlas_picture, num_threads
from atlas_pipeline.document.provenance import picture_text
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.mosaic import icon_px_within
from atlas_pipeline.pictures.pyramid import dzi, tile_files
from atlas_pipeline.tables.files import file_stream, file_table

# Of the atlas's own inputs and config those that its picture follows.
INPUTS = ("select", "bin", "invert")
CONFIG = ("model", "scale", "icon_px", "grid", "axis")


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not job.inputs["bin"].num_rows:
        # A selection without icons: the run says why.
        return [Output(table=file_table({}))]
    return [Output(table=file_stream(_files(job, runtime)))]


def _files(job: Job, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    grid, tile_format = int(job.config["grid"]), job.config["format"]
    picture = atlas_picture(job, icon_px_within(grid, job.config["icon_px"]), runtime)
    text = picture_text(job)
    note = f"{text['Title']}; {text['Weights']}; {text['Software']}, fingerprint {job.fingerprint}"
    yield f"atlas-{grid}.dzi", dzi(picture.width, picture.height, tile_format, note)
    tiles = tile_files(picture.bands, picture.width, picture.height, tile_format, num_threads(runtime))
    yield from ((f"atlas-{grid}_files/{name}", tile) for name, tile in tiles)


DEEP_ZOOM = Stage(
    name="deep_zoom",
    version=1,
    unit="icons",
    split=lambda job: [{"icons": job.inputs["bin"].num_rows}],
    size=lambda task: task["icons"],
    compute=_compute,
)


def steps(config: Config, atlas: Step) -> Iterator[Step]:
    """The tiles of a stitched atlas, where the config asks for them."""
    if not config.stitch.deep_zoom:
        return
    yield Step(
        stage=DEEP_ZOOM,
        config={
            **{key: atlas.config[key] for key in CONFIG if key in atlas.config},
            "format": config.stitch.deep_zoom_format,
        },
        inputs={role: atlas.inputs[role] for role in INPUTS if role in atlas.inputs},
        layer=atlas.layer,
        view=atlas.view,
        grid=atlas.grid,
    )
