"""unit_spread: a first look at the units of all layers, on a random part of the images: mean and deviation.

The bins and ranges of the pass over all images are in these standard deviations. They are fixed before the
pass, so that its parts can be merged in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.numerics.subset import random_subset
from atlas_pipeline.tables.unit_batches import Left, is_before_relu, unit_batches

# Draws of other purposes have other streams.
_STREAM = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpreadConfig:
    """num_images: size of the random part of the images, drawn with the seed."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    num_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpreadInputs:
    """The images."""

    index: Artefact


SpreadJob = Job[UnitSpreadConfig, UnitSpreadInputs]


def _num_images(job: SpreadJob) -> int:
    return min(job.config.num_images, job.inputs.index.num_rows)


def _compute(task: Task, jobs: Sequence[SpreadJob], runtime: Runtime) -> list[Output]:
    config, index, settings = jobs[0].config, jobs[0].inputs.index, jobs[0].settings
    chosen = random_subset(index.num_rows, config.num_images, config.seed, _STREAM)
    layers, left = [job.config.layer for job in jobs], Left()
    moments: dict[str, np.ndarray] = {}
    num_values = dict.fromkeys(layers, 0)
    for layer, values, _ in unit_batches(
        index.read().take(pa.array(chosen)), settings, layers, runtime, left
    ):
        flat = values.double().flatten(2)
        found = np.stack([flat.sum((0, 2)).cpu().numpy(), flat.square().sum((0, 2)).cpu().numpy()])
        moments[layer] = moments.get(layer, 0.0) + found
        num_values[layer] += flat.shape[0] * flat.shape[2]
    return [_output(job, moments, num_values, left, layers, runtime) for job in jobs]


def _output(
    job: SpreadJob,
    moments: Mapping[str, np.ndarray],
    num_values: Mapping[str, int],
    left: Left,
    layers: Sequence[str],
    runtime: Runtime,
) -> Output:
    layer = job.config.layer
    if not num_values[layer]:
        raise ImagesError(
            f"none of {_num_images(job)} images gave units of layer '{layer}' a finite value; repair the "
            "images, or check the network: atlas check CONFIG"
        )
    total, squares = moments[layer] / num_values[layer]
    table = pa.table(
        {
            "unit": np.arange(len(total), dtype=np.int32),
            "mean": total,
            "sd": np.sqrt(np.maximum(squares - total**2, 0)),
            "is_before_relu": is_before_relu(job.settings, layers, layer, runtime.device),
        }
    )
    return Output(table=table, notes={"num_images": _num_images(job) - len(left.bad), "bad": left.bad})


UNIT_SPREAD = Stage(
    name="unit_spread",
    version=1,
    config=UnitSpreadConfig,
    inputs=UnitSpreadInputs,
    unit="images",
    split=lambda job: [{"images": _num_images(job)}],
    size=lambda task: task["images"],
    compute=_compute,
    columns=(
        Column("unit", pa.int32()),
        Column("mean", pa.float64()),
        Column("sd", pa.float64()),
        Column("is_before_relu", pa.bool_()),
    ),
    uses_device=True,
    commands=("units",),
    is_checked=True,
)


def steps(config: Config, index: Step) -> dict[str, Step]:
    """One step per layer; the missing ones share one pass over the images."""
    return dict(_steps(config, index))


def _steps(config: Config, index: Step) -> Iterator[tuple[str, Step]]:
    assert config.units is not None
    for layer in config.unit_layers:
        yield (
            layer,
            Step(
                stage=UNIT_SPREAD,
                config=UnitSpreadConfig(
                    model=model_config(config),
                    layer=layer,
                    seed=config.seed,
                    num_images=config.units.first_images,
                ),
                inputs={"index": index},
                settings=run_settings(config),
                layer=layer,
                shared="unit_spread",
            ),
        )
