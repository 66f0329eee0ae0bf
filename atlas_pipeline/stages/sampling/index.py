"""index: list the images once, in a fixed order, each identified by its content; count the other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atlas_pipeline.config.run_settings import run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images.index_table import index_schema
from atlas_pipeline.images.left_out import left_out_line
from atlas_pipeline.images.listing import listing, listing_stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStepConfig:
    """stamp: changes when the images must be listed again; see `listing_stamp`."""

    source: str
    stamp: str
    num_images: int | None
    label_column: str | None
    seed: int


def _compute(task: Task, jobs: Sequence[Job[IndexStepConfig, Any]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    found = listing(
        job.config.source,
        job.settings.path,
        num_images=job.config.num_images,
        seed=job.config.seed,
        label_column=job.config.label_column,
        root=job.settings.root,
    )
    runtime.advance(1)
    return [Output(table=found.images.cast(index_schema()), notes=found.notes())]


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    """Report files that were left out and labels that are not used."""
    lines = left_out_line(artefact.notes), artefact.notes["remark"]
    return [line for line in lines if line]


INDEX = Stage(
    name="index",
    version=3,
    config=IndexStepConfig,
    # The number of images is known only after the listing.
    unit="listing",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    # Later stages depend on the content of the images, not on their location or the time of the listing.
    identity=("key", "label", "digest"),
    columns=columns_of(index_schema()),
    commands=("index",),
    remarks=_remarks,
)


def step(config: Config, stamp: str | None = None) -> Step:
    """The images of a run, as one step.

    Args: stamp: see `IndexStepConfig`; None: the stamp of the files as they are now.
    """
    images = config.images
    return Step(
        stage=INDEX,
        config=IndexStepConfig(
            source=images.source,
            stamp=listing_stamp(images.source, images.path, images.root) if stamp is None else stamp,
            num_images=images.wanted,
            label_column=images.label_column,
            seed=config.seed,
        ),
        settings=run_settings(config),
    )
