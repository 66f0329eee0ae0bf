"""predictions: the class that the network predicts for every image, and whether its label agrees.

Each image takes one more forward pass. The viewer colours cells by the share of wrong predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Notes, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.image_rows import batch_size_of, batches_of_rows, tasks_of_images
from atlas_pipeline.views.class_names import classes_of_labels

UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsStepConfig:
    """labels, label_column: the source of the labels' names."""

    model: Mapping[str, Any]
    labels: str | None
    label_column: str | None
    shard_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsInputs:
    """The images."""

    index: Artefact


PredictionsJob = Job[PredictionsStepConfig, PredictionsInputs]


def _compute(task: Task, jobs: Sequence[PredictionsJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.models.answers import answers

    (job,) = jobs
    settings, index = job.settings, job.inputs.index
    network = opened_network(settings.model, runtime.device)
    last = int(index.read(["label"])["label"].to_numpy().max(initial=-1))
    classes = classes_of_labels(settings, last, network) if last >= 0 else None
    if classes is None:
        raise ConfigError(
            "sample.predictions compares predictions with the images' labels, and "
            f"{'no label is the name of a class of the network' if last >= 0 else 'the images have none'}; "
            "leave it out"
        )
    rows = index.rows(task["start"], task["stop"])
    label = rows["label"].to_numpy()
    predicted = np.full(len(label), UNKNOWN, np.int32)
    probability = np.full(len(label), np.nan, np.float32)
    size = batch_size_of(runtime)
    batches = batches_of_rows(
        rows, settings, runtime.device, batch_size=size, num_workers=runtime.workers or 0
    )
    with closing(batches):
        for batch in batches:
            if len(batch.image_id):
                answer, sure = answers(network, batch.images, size)
                at = batch.image_id - task["start"]
                predicted[at], probability[at] = answer.numpy(), sure.numpy()
            runtime.advance(len(batch.image_id) + len(batch.bad))
    true = np.where(label < 0, UNKNOWN, classes[label])
    is_right = np.where((predicted < 0) | (true < 0), UNKNOWN, predicted == true).astype(np.int8)
    table = pa.table(
        {
            "image_id": pa.array(np.arange(task["start"], task["stop"]), pa.int64()),
            "predicted": pa.array(predicted),
            "probability": pa.array(probability),
            "is_right": pa.array(is_right),
        }
    )
    notes = {"num_known": int((is_right >= 0).sum()), "num_right": int((is_right == 1).sum())}
    return [Output(table=table, notes=notes)]


def _summarise(job: PredictionsJob, notes: Sequence[Notes]) -> Notes:
    return {name: sum(part[name] for part in notes) for name in ("num_known", "num_right")}


def _remarks(step: Step, artefact: Artefact) -> Iterator[str]:
    known, right = artefact.notes["num_known"], artefact.notes["num_right"]
    if known:
        yield f"the network's class is the image's label for {right / known:.1%} of {known:,} images"


PREDICTIONS = Stage(
    name="predictions",
    version=1,
    config=PredictionsStepConfig,
    inputs=PredictionsInputs,
    unit="images",
    split=lambda job: tasks_of_images(job.inputs.index.num_rows, job.config.shard_size),
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=(
        Column("image_id", pa.int64()),
        Column("predicted", pa.int32()),
        Column("probability", pa.float32()),
        Column("is_right", pa.int8()),
    ),
    uses_device=True,
    commands=("sample",),
    remarks=_remarks,
)


def step(config: Config, index: Step) -> Step | None:
    """The predictions, if the config asks for them."""
    if not config.sample.predictions:
        return None
    return Step(
        stage=PREDICTIONS,
        config=PredictionsStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            label_column=config.images.label_column,
            shard_size=config.sample.shard_size,
        ),
        inputs={"index": index},
        settings=run_settings(config),
    )
