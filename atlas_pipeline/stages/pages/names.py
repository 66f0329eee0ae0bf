"""names: name the regions of a map whose activations agree on a class, over all grids of a view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.region_names import GridClasses, region_names
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.viewer.name_files import name_file


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesStepConfig:
    """labels: digest of the file of class labels."""

    model: Mapping[str, Any]
    labels: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesInputs:
    """The cells of all grids of a view, by grid size."""

    bins: Mapping[str, Artefact] = many("bin")


NamesJob = Job[NamesStepConfig, NamesInputs]


def _compute(task: Task, jobs: Sequence[NamesJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.models import class_labels

    (job,) = jobs
    grids = {int(size): cells for size, cells in job.inputs.bins.items()}
    attributed = {
        size: cells for size, cells in grids.items() if cells.num_rows and "attribution" in cells.schema.names
    }
    files = {}
    if attributed:
        notes = next(iter(attributed.values())).notes
        labels = class_labels(job.settings.model, notes["num_classes"])
        words = [str(labels[index]) if labels else f"class {index}" for index in notes["classes"]]
        found = region_names([_grid_classes(size, cells) for size, cells in attributed.items()])
        files = {"names.js": name_file(found, words)}
    runtime.advance(1)
    return [Output(table=file_table(files))]


def _grid_classes(size: int, cells: Artefact) -> GridClasses:
    numbers = cells.read(["row", "col", "count", "consistency"])
    row, col, count, agreement = (numbers[name].to_numpy() for name in ("row", "col", "count", "consistency"))
    top = []
    # One part at a time: with 1,000 classes the attributions of a fine grid take gigabytes.
    for part in cells.parts(["attribution"]):
        attribution = column_matrix(part, "attribution")
        known = np.where(np.isfinite(attribution), attribution, -np.inf)
        top.append(np.where(np.isfinite(known).any(axis=1), known.argmax(axis=1), -1))
    return GridClasses(
        grid=size,
        cells=np.column_stack([row, col]),
        classes=np.concatenate(top),
        counts=count,
        agreement=agreement,
    )


NAMES = Stage(
    name="names",
    version=1,
    config=NamesStepConfig,
    inputs=NamesInputs,
    unit="lists",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    may_lag=True,
    viewer=lambda artefact: ViewerFacts(view={"names": artefact.num_rows > 0}),
)


def steps(config: Config, cells: Mapping[int, Step]) -> Iterator[Step]:
    """The names of one map; none if the run has no attributions. cells: the steps of `bin`, by grid size."""
    if config.sample.attribution == "none":
        return
    first = next(iter(cells.values()))
    yield Step(
        stage=NAMES,
        config=NamesStepConfig(model=model_config(config), labels=labels_digest(config)),
        inputs={f"bin {size}": grid_cells for size, grid_cells in cells.items()},
        settings=run_settings(config),
        layer=first.layer,
        view=first.view,
    )
