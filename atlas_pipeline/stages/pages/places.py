"""places: write the layout of a fixed subset of the images for the viewer, and a thumbnail.

An activation is identified by its image and by the ordinal of its position in that image. Positions are drawn
relative to the image and shared by all layers, so an ordinal names one patch of the image in every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.stages import LAYOUT_COMMANDS
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.viewer.known_images import known_images
from atlas_pipeline.viewer.layout_files import place_file, thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesStepConfig:
    """positions_per_image: left out of the fingerprint at 1, where the image identifies an activation."""

    seed: int
    positions_per_image: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesInputs:
    """The images and a layout; also the selection, if it has several positions per image."""

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
    """The ordinal of each activation's position in its image: (activation,); None for one per image."""
    positions = job.config.positions_per_image
    if positions == 1:
        return None
    select = job.inputs.select
    # A sample lists all positions of an image in a row; an unreadable image has no rows at all.
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
    commands=LAYOUT_COMMANDS,
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(view={"places": artefact.num_rows > 0}),
)


def step(config: Config, index: Step, select: Step | None, layout: Step) -> Step:
    """The places of activations in one layout."""
    positions = config.sample.positions_per_image
    inputs = {"index": index, "project": layout}
    return Step(
        stage=PLACES,
        config=PlacesStepConfig(seed=config.seed, positions_per_image=positions),
        inputs={**inputs, "select": select} if select and positions > 1 else inputs,
        layer=layout.layer,
        view=layout.view,
    )
