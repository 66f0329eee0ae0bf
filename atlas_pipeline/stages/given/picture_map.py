"""picture_map: the activations of a picture given by path, at every position of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.given_settings import GivenSettings, network_and_image


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureMapConfig:
    """picture: sha256 of the file's bytes."""

    model: Mapping[str, Any]
    layer: str
    picture: str


def _compute(
    task: Task, jobs: Sequence[Job[PictureMapConfig, Mapping[str, Any]]], runtime: Runtime
) -> list[Output]:
    from atlas_pipeline.models.layer_samples import map_shape
    from atlas_pipeline.models.map_attribution import map_of

    (job,) = jobs
    network, image = network_and_image(job.settings, runtime.device)
    _, height, width = map_shape(network, job.config.layer)
    activations = map_of(network, image, job.config.layer).T.cpu().numpy()
    row, col = np.divmod(np.arange(len(activations)), width)
    runtime.advance(1)
    table = pa.table(
        {
            "row": pa.array(row, pa.int16()),
            "col": pa.array(col, pa.int16()),
            "activation": matrix_column(activations),
        }
    )
    return [Output(table=table, notes={"height": height, "width": width})]


PICTURE_MAP = Stage(
    name="picture_map",
    version=1,
    config=PictureMapConfig,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("activation", Vector((pa.float32(),), "channel")),
    ),
    uses_device=True,
    commands=("image",),
    is_checked=True,
)


def step(config: Config, layer: str, settings: GivenSettings) -> Step:
    """The activations of one picture in one layer."""
    return Step(
        stage=PICTURE_MAP,
        config=PictureMapConfig(model=model_config(config), layer=layer, picture=settings.picture.digest),
        settings=settings,
        layer=layer,
        view=settings.picture.name,
    )
