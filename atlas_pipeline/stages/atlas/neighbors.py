"""neighbors: find the nearest neighbours of every activation; they are kept for later layouts.

Equal activations are one vertex of the neighbour graph, and neighbours are vertices. With ``project.fit_on``
only fitted vertices are neighbours; they come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import MemoryNeed, Needs
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.layout.fitted import fitted_rows
from atlas_pipeline.layout.layout_memory import FEWER_ACTIVATIONS, layout_bytes
from atlas_pipeline.numerics.near_rows import Metric
from atlas_pipeline.tables.extent import Extent
from atlas_pipeline.tables.neighbor_table import NEIGHBOR_COLUMNS, neighbor_table
from atlas_pipeline.tables.population import ActivationBlocks, population
from atlas_pipeline.views.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsStepConfig:
    """euclidean_search: version of the Euclidean search; None for the cosine metric.

    The other fields: see `config.sections.ProjectConfig`.
    """

    num_neighbors: int
    metric: Metric
    method: Literal["auto", "exact", "approximate"]
    seed: int
    fit_on: int | None
    euclidean_search: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborsInputs:
    """select: the selection, where only selected activations are laid out."""

    sample: Artefact
    select: Artefact | None = None


def _population(job: Job[NeighborsStepConfig, NeighborsInputs]) -> Artefact:
    return population(job.inputs.sample, job.inputs.select)


def _compute(
    task: Task, jobs: Sequence[Job[NeighborsStepConfig, NeighborsInputs]], runtime: Runtime
) -> list[Output]:
    from atlas_pipeline.layout.neighbors import neighbors

    (job,) = jobs
    chosen, config = _population(job), job.config
    if chosen.num_rows < 3 and job.inputs.select is None:
        raise ImagesError(
            f"layer '{job.layer}' has {chosen.num_rows} activations, too few for a layout; give more images"
        )
    near = neighbors(
        ActivationBlocks(chosen),
        chosen.num_rows,
        config.num_neighbors,
        fitted=fitted_rows(chosen.num_rows, config.fit_on, config.seed),
        metric=config.metric,
        method=config.method,
        seed=config.seed,
        device=runtime.device,
        advance=runtime.advance,
    )
    notes = {"num_fitted": near.same.num_fitted, "search": dict(near.search)}
    return [Output(table=neighbor_table(near), notes=notes)]


def _remarks(step: Step, artefact: Artefact) -> Iterator[str]:
    """Report a GPU that had too little memory."""
    # Artefacts of earlier versions do not say how they were searched.
    if artefact.notes.get("search", {}).get("gpu_was_full"):
        yield (
            f"{step.layer}, {step.view}: the GPU's memory was too small for the search of neighbours, which "
            "ran on the CPU; close other programs on the GPU, or fit on fewer activations (project.fit_on)"
        )


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    disk_bytes, memory = 0, []
    for step, extent in zip(steps, extents, strict=True):
        if extent is not None:
            config: NeighborsStepConfig = step.config
            disk_bytes += extent.num_rows * config.num_neighbors * 8
            num_bytes = layout_bytes(
                extent.num_rows, extent.num_channels, config.num_neighbors, config.fit_on
            )
            memory.append(MemoryNeed(f"the layout of {step.layer}", num_bytes, FEWER_ACTIVATIONS))
    return Needs(disk_bytes, tuple(memory))


NEIGHBORS = Stage(
    name="neighbors",
    version=3,
    config=NeighborsStepConfig,
    inputs=NeighborsInputs,
    unit="rows",
    split=lambda job: [{"rows": _population(job).num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=NEIGHBOR_COLUMNS,
    uses_device=lambda config: config.method != "approximate",
    uses_all_cores=True,
    commands=("project",),
    needs=_needs,
    remarks=_remarks,
)


def step(config: Config, view: View, sample: Step, select: Step | None) -> Step:
    """The neighbours of a view's activations, in one layer."""
    return Step(
        stage=NEIGHBORS,
        config=NeighborsStepConfig(
            num_neighbors=view.layout.num_neighbors,
            metric=config.project.metric,
            method=config.project.neighbors,
            seed=config.seed,
            fit_on=view.layout.fit_on,
            # Version 1 ranked squared distances as equal if they differed by about 1e-6 of the longest
            # activation's square: with a few very long ones, the neighbours of all others could be wrong.
            # Cosine neighbours, of vectors of one length, are the same.
            euclidean_search=2 if config.project.metric == "euclidean" else None,
        ),
        inputs={"sample": sample, **({"select": select} if select else {})},
        layer=sample.layer,
        view=view.name,
    )
