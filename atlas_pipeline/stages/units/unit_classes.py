"""unit_classes: the mean attribution of each unit to every class, at the maxima of its top images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of, unit_tasks
from atlas_pipeline.tables.columns import column_matrix, matrix_column

UNITS_PER_TASK = 16
IMAGES_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitClassesConfig:
    """units: empty for all. maxpool_gradient: as for the attributions of a sample."""

    model: Mapping[str, Any]
    layer: str
    units: Sequence[int]
    maxpool_gradient: Literal["exact", "smooth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitClassesInputs:
    """The images, and the top examples of each unit."""

    index: Artefact
    examples: Artefact


ClassesJob = Job[UnitClassesConfig, UnitClassesInputs]


def _split(job: ClassesJob) -> list[Task]:
    return unit_tasks(len(numbers_of(job.config.units, job.inputs.examples.num_rows)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[ClassesJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.models.layer_samples import map_shape
    from atlas_pipeline.models.unit_attribution import unit_attribution

    (job,) = jobs
    config, settings = job.config, job.settings
    network = opened_network(settings.model, runtime.device)
    width = map_shape(network, config.layer)[2]
    units = numbers_of(config.units, job.inputs.examples.num_rows)[task["start"] : task["stop"]]
    table = job.inputs.examples.read(["top_image", "top_place"]).take(pa.array(units, pa.int64()))
    images, places = (column_matrix(table, f"top_{what}") for what in ("image", "place"))
    rows, slots = np.nonzero(images >= 0)
    total = np.zeros((len(units), network.num_classes))
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        row, slot = rows[part], slots[part]
        of_part = images_of(job.inputs.index, images[row, slot], settings, runtime.device)
        found = unit_attribution(
            network,
            of_part.to(runtime.device),
            config.layer,
            torch.tensor(np.array(units)[row]),
            torch.tensor(np.stack(np.divmod(places[row, slot], width), axis=1)).long(),
            config.maxpool_gradient,
        )
        np.add.at(total, row, found.double().cpu().numpy())
        runtime.advance(len(row) / max(1, len(rows)) * len(units))
    mean = total / np.maximum((images >= 0).sum(axis=1, keepdims=True), 1)
    table = pa.table(
        {"unit": pa.array(units, pa.int32()), "attribution": matrix_column(mean.astype(np.float32))}
    )
    return [Output(table=table)]


UNIT_CLASSES = Stage(
    name="unit_classes",
    version=1,
    config=UnitClassesConfig,
    inputs=UnitClassesInputs,
    unit="units",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=(Column("unit", pa.int32()), Column("attribution", Vector((pa.float32(),), "class"))),
    uses_device=True,
    commands=("units",),
    is_checked=True,
)


def steps(config: Config, index: Step, examples: Mapping[str, Step]) -> Iterator[tuple[str, Step]]:
    """The classes of each layer's units; none where the config asks for no attributions."""
    for layer, of_layer in examples.items() if config.sample.attribution != "none" else ():
        yield (
            layer,
            Step(
                stage=UNIT_CLASSES,
                config=UnitClassesConfig(
                    model=model_config(config),
                    layer=layer,
                    units=chosen_units(config, layer),
                    maxpool_gradient=config.sample.maxpool_gradient,
                ),
                inputs={"index": index, "examples": of_layer},
                settings=run_settings(config),
                layer=layer,
            ),
        )
