"""picture_between: attribution of a picture's positions in a layer to its positions in an earlier layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.given_settings import GivenSettings, network_and_image

# Each takes a backward pass between the layers, and a row of the page's file.
MAX_POSITIONS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureBetweenConfig:
    """picture: sha256 of the file's bytes. maxpool_gradient: as for the attributions of a sample."""

    model: Mapping[str, Any]
    earlier: str
    later: str
    picture: str
    maxpool_gradient: Literal["exact", "smooth"]


def _compute(
    task: Task, jobs: Sequence[Job[PictureBetweenConfig, Mapping[str, Any]]], runtime: Runtime
) -> list[Output]:
    from atlas_pipeline.models.layer_samples import map_shape
    from atlas_pipeline.models.map_attribution import attribution_between

    (job,) = jobs
    config = job.config
    network, image = network_and_image(job.settings, runtime.device)
    _, height, width = map_shape(network, config.later)
    _, rows, cols = map_shape(network, config.earlier)
    runtime.advance(1)
    if height * width > MAX_POSITIONS or height * width == 1 or rows * cols == 1:
        why = "a single position" if min(height * width, rows * cols) == 1 else "too many positions"
        empty = matrix_column(np.zeros((0, rows * cols), np.float32))
        return [Output(table=pa.table({"attribution": empty}), notes={"why": why})]
    found = attribution_between(network, image, config.earlier, config.later, config.maxpool_gradient)
    return [Output(table=pa.table({"attribution": matrix_column(found.numpy())}), notes={"why": ""})]


PICTURE_BETWEEN = Stage(
    name="picture_between",
    version=1,
    config=PictureBetweenConfig,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(Column("attribution", Vector((pa.float32(),), "position of the earlier layer")),),
    uses_device=True,
    commands=("image",),
    is_checked=True,
)


def step(config: Config, earlier: str, later: str, settings: GivenSettings) -> Step:
    """The attribution between two layers for one picture."""
    return Step(
        stage=PICTURE_BETWEEN,
        config=PictureBetweenConfig(
            model=model_config(config),
            earlier=earlier,
            later=later,
            picture=settings.picture.digest,
            maxpool_gradient=config.sample.maxpool_gradient,
        ),
        settings=settings,
        layer=later,
        view=settings.picture.name,
    )
