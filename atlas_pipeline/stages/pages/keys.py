"""keys: list the names of the images that the viewer's search covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.stages import LAYOUT_COMMANDS
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.image_keys import shown_key
from atlas_pipeline.viewer.known_images import known_images
from atlas_pipeline.viewer.layout_files import key_file
from atlas_pipeline.views.class_names import names_of_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysStepConfig:
    """label_column, labels: the source of the names of the images' labels."""

    seed: int
    model: Mapping[str, Any]
    labels: str | None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysInputs:
    """The images."""

    index: Artefact


def _compute(task: Task, jobs: Sequence[Job[KeysStepConfig, KeysInputs]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    index = job.inputs.index
    known = known_images(index.num_rows, job.config.seed)
    keys, labels, start = [], [], 0
    for part in index.parts(["key", "label"]):
        in_part = known[(known >= start) & (known < start + part.num_rows)] - start
        chosen = part.take(pa.array(in_part))
        keys += [shown_key(key) for key in chosen["key"].to_pylist()]
        labels += chosen["label"].to_pylist()
        start += part.num_rows
    names = names_of_labels(job.settings, max(labels, default=-1)) or ()
    runtime.advance(1)
    return [
        Output(table=file_table({"keys.js": key_file(known, keys, labels, [str(name) for name in names])}))
    ]


KEYS = Stage(
    name="keys",
    version=2,
    config=KeysStepConfig,
    inputs=KeysInputs,
    unit="lists",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=LAYOUT_COMMANDS,
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(run={"keys": True}),
)


def step(config: Config, index: Step) -> Step:
    """The keys and labels that the viewer's search covers."""
    return Step(
        stage=KEYS,
        config=KeysStepConfig(
            seed=config.seed,
            model=model_config(config),
            labels=labels_digest(config),
            label_column=config.images.label_column,
        ),
        inputs={"index": index},
        settings=run_settings(config),
    )
