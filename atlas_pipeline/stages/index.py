"""index: list the images once, in a fixed order, each known by its content."""

from __future__ import annotations

from collections.abc import Sequence

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images.listing import list_images, listing_stamp
from atlas_pipeline.schema import index_schema


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    table = list_images(
        job.config["source"],
        job.settings["path"],
        num_images=job.config["num_images"],
        seed=job.config["seed"],
    )
    runtime.advance(1)
    return [Output(table=table.cast(index_schema()))]


INDEX = Stage(
    name="index",
    version=2,
    # How many images there are is known when they are listed.
    unit="listing",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    # Later stages hang on what the images are, not on where they lie or when they were listed.
    identity=("key", "label", "digest"),
)


def step(config: Config) -> Step:
    """The images of a run, as one step."""
    images = config.images
    return Step(
        stage=INDEX,
        config={
            "source": images.source,
            "stamp": listing_stamp(images.source, images.path),
            "num_images": images.wanted,
            "seed": config.seed,
        },
        inputs={},
        settings={"path": images.path},
    )
