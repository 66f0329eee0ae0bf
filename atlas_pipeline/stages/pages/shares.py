"""shares: per cell, the share of each label and metadata value, and the mean of each numeric column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings, labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Notes, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images import metadata
from atlas_pipeline.numerics.cell_means import cell_means
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.population import layout_xy
from atlas_pipeline.viewer.grid_files import share_file
from atlas_pipeline.views.class_names import names_of_labels

# A text column shows its most common values, up to this number. Labels are left out if there are more.
MAX_VALUES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesStepConfig:
    """metadata: digest of the table. labels, label_column: the source of the labels' names."""

    model: Mapping[str, Any]
    labels: str | None
    label_column: str | None = None
    metadata: str | None
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesInputs:
    """The images, a layout, its cells, and the classes that the network predicts."""

    index: Artefact
    project: Artefact
    bin: Artefact
    predictions: Artefact | None = None


SharesJob = Job[SharesStepConfig, SharesInputs]


class Series(NamedTuple):
    """A number for each image.

    value: the column's value whose share is shown; None for a numeric column, whose mean is shown.
    """

    column: str
    value: str | None
    numbers: np.ndarray  # (image,), NaN where unknown


def _compute(task: Task, jobs: Sequence[SharesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    cells, grid = job.inputs.bin.read(["row", "col"]), job.config.grid
    if not cells.num_rows:
        return [Output(table=file_table({}))]
    layout = job.inputs.project.read(["image_id", "x", "y"])
    at = np.full(grid**2, -1)
    at[flat_cell(np.column_stack([cells["row"], cells["col"]]), grid)] = np.arange(cells.num_rows)
    cell = at[flat_cell(cell_of(layout_xy(layout), grid), grid)]
    image = layout["image_id"].to_numpy()
    files, shown = {}, []
    for number, series in enumerate(_series(job)):
        means = cell_means(cell, series.numbers[image], cells.num_rows)
        files[f"tiles-{grid}/share-{number}.js"] = share_file(means)
        shown.append({"column": series.column, "value": series.value})
    runtime.advance(1)
    return [Output(table=file_table(files), notes={"shares": shown})]


def _series(job: SharesJob) -> Iterator[Series]:
    index = job.inputs.index
    if job.inputs.predictions is not None:
        is_right = job.inputs.predictions.read(["is_right"])["is_right"].to_numpy()
        yield Series("prediction", "wrong", np.where(is_right < 0, np.nan, is_right == 0))
    yield from _labels(index, job.settings)
    if job.settings.metadata:
        keys = index.read(["key"])["key"]
        known = metadata.rows_for_images(metadata.read_metadata(job.settings.metadata), keys)
        for name in known.schema.names:
            if metadata.is_text(known[name].type):
                yield from _values(name, known[name].cast(pa.string()).to_pylist())
            else:
                share = "true" if pa.types.is_boolean(known[name].type) else None
                yield Series(name, share, metadata.numbers_of(known[name]))


def _labels(index: Artefact, settings: RunSettings) -> Iterator[Series]:
    labels = index.read(["label"])["label"].to_numpy()
    present = np.unique(labels[labels >= 0]).tolist()
    if 1 < len(present) <= MAX_VALUES:
        names = names_of_labels(settings, present[-1])
        for label in present:
            numbers = np.where(labels >= 0, labels == label, np.nan)
            yield Series("label", str(names[label]) if names else f"label {label}", numbers)


def _values(name: str, values: Sequence[str | None]) -> Iterator[Series]:
    counts = Counter(value for value in values if value is not None)
    # Break ties alphabetically: the order of rows in the table must not matter.
    commonest = sorted(counts, key=lambda value: (-counts[value], value))[:MAX_VALUES]
    array = np.array(values, dtype=object)
    unknown = np.array([value is None for value in values], dtype=bool)
    for value in commonest:
        yield Series(name, value, np.where(unknown, np.nan, array == value).astype(np.float64))


def _summarise(job: SharesJob, notes: Sequence[Notes]) -> Notes:
    return notes[0]


def _viewer_facts(artefact: Artefact) -> ViewerFacts:
    # Views without cells have no shares; all other views have the same columns.
    return ViewerFacts(run={"shares": artefact.notes["shares"]} if artefact.num_rows else {})


SHARES = Stage(
    name="shares",
    version=2,
    config=SharesStepConfig,
    inputs=SharesInputs,
    unit="lists",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    summarise=_summarise,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    viewer=_viewer_facts,
)


def step(config: Config, index: Step, layout: Step, cells: Step, predictions: Step | None) -> Step:
    """The predictions, labels and metadata that the viewer can colour one grid's cells by."""
    table = config.images.metadata
    return Step(
        stage=SHARES,
        config=SharesStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            label_column=config.images.label_column,
            metadata=metadata.metadata_digest(table) if table else None,
            grid=int(cells.grid or 0),
        ),
        inputs={
            "index": index,
            "project": layout,
            "bin": cells,
            **({} if predictions is None else {"predictions": predictions}),
        },
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
