"""neighbors: the nearest activations of every activation, kept so that a new layout need not search again."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.schema import matrix_column
from atlas_pipeline.stages.tables import activations


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.layout.neighbors import neighbors

    (job,) = jobs
    vectors = activations(job.inputs["sample"])
    if len(vectors) < 3:
        raise ImagesError(
            f"layer '{job.layer}' has {len(vectors)} activations, too few for a layout; give more images"
        )
    indices, distances = neighbors(
        vectors,
        job.config["num_neighbors"],
        metric=job.config["metric"],
        method=job.config["method"],
        seed=job.config["seed"],
        device=runtime.device,
        advance=runtime.advance,
    )
    return [
        Output(table=pa.table({"indices": matrix_column(indices), "distances": matrix_column(distances)}))
    ]


NEIGHBORS = Stage(
    name="neighbors",
    version=1,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["sample"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, sample: Step) -> Step:
    """The neighbours of one layer's activations."""
    project = config.project
    return Step(
        stage=NEIGHBORS,
        config={
            "num_neighbors": project.num_neighbors,
            "metric": project.metric,
            "method": project.neighbors,
            "seed": config.seed,
        },
        inputs={"sample": sample},
        layer=sample.layer,
        view="all",
    )
