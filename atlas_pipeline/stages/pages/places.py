"""places: where activations lie, for the viewer: those of a fixed subset of the images, and a thumbnail.

An activation is known by its image and by which of the image's positions it was taken at. These are drawn
as relative places in the image that all layers share: the same ordinal is the same patch in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.viewer.known_images import known_images
from atlas_pipeline.viewer.layout_files import place_file, thumbnail


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    layout = job.inputs["project"].read(["image_id", "x", "y"])
    if not layout.num_rows:
        return [Output(table=file_table({}))]
    xy = layout_xy(layout)
    known = known_images(job.inputs["index"].num_rows, job.config["seed"])
    files = {
        "places.js": place_file(xy, layout["image_id"].to_numpy(), known, _ordinals(job, len(xy))),
        "thumbnail.webp": thumbnail(xy),
    }
    runtime.advance(len(xy))
    return [Output(table=file_table(files))]


def _ordinals(job: Job, num_rows: int) -> np.ndarray | None:
    """(activation,) which of its image's positions each is of; None where an image has one."""
    positions = job.config.get("positions_per_image", 1)
    if positions == 1:
        return None
    select = job.inputs.get("select")
    # A sample is image by image, and an image that cannot be read has no row at all.
    rows = np.arange(num_rows) if select is None else select.read(["sample_row"])["sample_row"].to_numpy()
    return rows % positions


PLACES = Stage(
    name="places",
    version=1,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["project"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, index: Step, layout: Step, select: Step | None = None) -> Step:
    """The places of one layout: of a whole sample, or of a selection from it."""
    positions = config.sample.positions_per_image
    # With one position an image all is said by the image.
    several = {"positions_per_image": positions} if positions > 1 else {}
    chosen = {"select": select} if several and select else {}
    return Step(
        stage=PLACES,
        config={"seed": config.seed, **several},
        inputs={"index": index, "project": layout, **chosen},
        layer=layout.layer,
        view=layout.view,
    )
