"""places: where activations lie, for the viewer: those of a fixed subset of the images, and a thumbnail."""

from __future__ import annotations

from collections.abc import Sequence

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.stages.known_images import known_images
from atlas_pipeline.stages.tables import file_table, layout_xy
from atlas_pipeline.viewer.layout_files import place_file, thumbnail


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    layout = job.inputs["project"].read(["image_id", "x", "y"])
    if not layout.num_rows:
        return [Output(table=file_table({}))]
    xy = layout_xy(layout)
    known = known_images(job.inputs["index"].num_rows, job.config["seed"])
    files = {
        "places.js": place_file(xy, layout["image_id"].to_numpy(), known),
        "thumbnail.webp": thumbnail(xy),
    }
    runtime.advance(len(xy))
    return [Output(table=file_table(files))]


PLACES = Stage(
    name="places",
    version=1,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["project"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, index: Step, layout: Step) -> Step:
    """The places of one layout."""
    return Step(
        stage=PLACES,
        config={"seed": config.seed},
        inputs={"index": index, "project": layout},
        layer=layout.layer,
        view=layout.view,
    )
