"""neighbors: the nearest activations of every activation, kept so that a new layout need not search again.

Equal activations are one vertex, and neighbours are vertices; with ``project.fit_on`` the fitted ones, which
are the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.layout.fitted import fitted_rows
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.population import ActivationBlocks, population


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.layout.neighbors import neighbors

    (job,) = jobs
    chosen, config = population(job.inputs), job.config
    if chosen.num_rows < 3 and "select" not in job.inputs:
        raise ImagesError(
            f"layer '{job.layer}' has {chosen.num_rows} activations, too few for a layout; give more images"
        )
    near = neighbors(
        ActivationBlocks(chosen),
        chosen.num_rows,
        config["num_neighbors"],
        fitted=fitted_rows(chosen.num_rows, config["fit_on"], config["seed"]),
        metric=config["metric"],
        method=config["method"],
        seed=config["seed"],
        device=runtime.device,
        advance=runtime.advance,
    )
    vertex = near.same.vertex
    table = pa.table(
        {
            "vertex": pa.array(vertex),
            "indices": matrix_column(near.indices[vertex]),
            "distances": matrix_column(near.distances[vertex]),
        }
    )
    return [Output(table=table, notes={"num_fitted": near.same.num_fitted})]


NEIGHBORS = Stage(
    name="neighbors",
    version=3,
    unit="rows",
    split=lambda job: [{"rows": population(job.inputs).num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
)


def step(config: Config, sample: Step) -> Step:
    """The neighbours of one layer's activations."""
    return _step(config, {"sample": sample}, config.project.num_neighbors, view="all")


def view_step(config: Config, sample: Step, select: Step, num_neighbors: int) -> Step:
    """The neighbours within a selection."""
    return _step(config, {"sample": sample, "select": select}, num_neighbors, view=str(select.view))


def _step(config: Config, inputs: Mapping[str, Step], num_neighbors: int, view: str) -> Step:
    return Step(
        stage=NEIGHBORS,
        config={
            "num_neighbors": num_neighbors,
            "metric": config.project.metric,
            "method": config.project.neighbors,
            "seed": config.seed,
            # A selection is small, and chosen already.
            "fit_on": None if "select" in inputs else config.project.fit_on,
        },
        inputs=inputs,
        layer=inputs["sample"].layer,
        view=view,
    )
