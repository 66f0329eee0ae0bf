"""places: where activations lie, for the viewer: those of a fixed subset of the images, and a thumbnail.

An activation is known by its image and by which of the image's positions it was taken at. These are drawn
as relative places in the image that all layers share: the same ordinal is the same patch in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.stages import WITH_A_LAYOUT
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.viewer.known_images import known_images
from atlas_pipeline.viewer.layout_files import place_file, thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesStepConfig:
    """positions_per_image: left out where it is 1: an activation is known by its image then."""

    seed: int
    positions_per_image: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesInputs:
    """The images and a layout; of a selection with several positions an image, the selection."""

    index: Artefact
    project: Artefact
    select: Artefact | None = None


PlacesJob = Job[PlacesStepConfig, PlacesInputs]


def _compute(task: Task, jobs: Sequence[PlacesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    layout = job.inputs.project.read(["image_id", "x", "y"])
    if not layout.num_rows:
        return [Output(table=file_table({}))]
    xy = layout_xy(layout)
    known = known_images(job.inputs.index.num_rows, job.config.seed)
    files = {
        "places.js": place_file(xy, layout["image_id"].to_numpy(), known, _ordinals(job, len(xy))),
        "thumbnail.webp": thumbnail(xy),
    }
    runtime.advance(len(xy))
    return [Output(table=file_table(files))]


def _ordinals(job: PlacesJob, num_rows: int) -> np.ndarray | None:
    """(activation,) which of its image's positions each is of; None where an image has one."""
    positions = job.config.positions_per_image
    if positions == 1:
        return None
    select = job.inputs.select
    # A sample is image by image, and an image that cannot be read has no row at all.
    rows = np.arange(num_rows) if select is None else select.read(["sample_row"])["sample_row"].to_numpy()
    return rows % positions


PLACES = Stage(
    name="places",
    version=1,
    config=PlacesStepConfig,
    inputs=PlacesInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.project.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=FILES,
    commands=WITH_A_LAYOUT,
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(view={"places": artefact.num_rows > 0}),
)


def step(config: Config, index: Step, select: Step | None, layout: Step) -> Step:
    """The places of the activations of one layout."""
    positions = config.sample.positions_per_image
    inputs = {"index": index, "project": layout}
    return Step(
        stage=PLACES,
        config=PlacesStepConfig(seed=config.seed, positions_per_image=positions),
        inputs={**inputs, "select": select} if select and positions > 1 else inputs,
        layer=layout.layer,
        view=layout.view,
    )
