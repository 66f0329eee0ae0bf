"""project: activations to the unit square, x to the right and y up; with the layout's quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.normalise import normalise_layout
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.tables import activations


def _layout(job: Job, vectors: np.ndarray) -> np.ndarray:
    if job.config["method"] == "tsne":
        from atlas_pipeline.layout.tsne_layout import tsne_layout

        return tsne_layout(vectors, metric=job.config["metric"], seed=job.config["seed"])
    from atlas_pipeline.layout.umap_layout import umap_layout

    table = job.inputs["neighbors"].read()
    return umap_layout(
        vectors,
        (column_matrix(table, "indices"), column_matrix(table, "distances")),
        num_neighbors=job.config["num_neighbors"],
        min_dist=job.config["min_dist"],
        metric=job.config["metric"],
        seed=job.config["seed"],
        num_epochs=job.config["num_epochs"],
    )


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.numerics.quality import layout_quality

    (job,) = jobs
    vectors = activations(job.inputs["sample"])
    layout = normalise_layout(_layout(job, vectors))
    quality = layout_quality(vectors, layout, seed=job.config["seed"], metric=job.config["metric"])
    table = job.inputs["sample"].read(["image_id", "row", "col"])
    table = table.append_column("x", pa.array(layout[:, 0])).append_column("y", pa.array(layout[:, 1]))
    runtime.advance(len(layout))
    return [Output(table=table, notes={"quality": quality})]


PROJECT = Stage(
    name="project",
    version=1,
    unit="rows",
    split=lambda job: [{"rows": job.inputs["sample"].num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, sample: Step, neighbors: Step) -> Step:
    """The layout of one layer's activations."""
    project = config.project
    settings: dict[str, Any] = {"method": project.method, "metric": project.metric, "seed": config.seed}
    if project.method == "umap":
        settings |= {
            "num_neighbors": project.num_neighbors,
            "min_dist": project.min_dist,
            "num_epochs": project.num_epochs,
        }
    return Step(
        stage=PROJECT,
        config=settings,
        inputs={"sample": sample} | ({"neighbors": neighbors} if project.method == "umap" else {}),
        layer=sample.layer,
        view="all",
    )
