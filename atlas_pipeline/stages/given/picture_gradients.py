"""picture_gradients: the gradients of logits at every activation of a picture in a layer."""

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
from atlas_pipeline.views.class_names import named_class


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGradientsConfig:
    """picture: sha256 of the file's bytes. classes: indices, beside the num_classes of the highest logits.

    num_steps: points on the path. maxpool_gradient: of the gradient; along the path max-pools are exact.
    """

    model: Mapping[str, Any]
    layer: str
    picture: str
    classes: Sequence[int]
    num_classes: int
    num_steps: int
    maxpool_gradient: Literal["exact", "smooth"]


def _compute(
    task: Task, jobs: Sequence[Job[PictureGradientsConfig, Mapping[str, Any]]], runtime: Runtime
) -> list[Output]:
    import torch

    from atlas_pipeline.models.map_attribution import class_gradients, path_gradients

    (job,) = jobs
    config = job.config
    network, image = network_and_image(job.settings, runtime.device)
    with torch.no_grad():
        logits = network.logits(image)[0].double().cpu()
    highest = torch.argsort(logits, descending=True, stable=True)[: config.num_classes].tolist()
    classes = list(dict.fromkeys([*highest, *config.classes]))
    at_image = class_gradients(network, image, config.layer, classes, config.maxpool_gradient)
    runtime.advance(0.2)
    on_path = path_gradients(network, image, config.layer, classes, config.num_steps)
    runtime.advance(0.8)
    table = pa.table(
        {
            "class": pa.array(classes, pa.int32()),
            "logit": pa.array(logits[classes].numpy()),
            "probability": pa.array(logits.softmax(0)[classes].numpy()),
            **_columns("gradient", at_image),
            **_columns("path", on_path),
        }
    )
    return [Output(table=table)]


def _columns(name: str, found: Any) -> dict[str, pa.Array]:
    """The columns of `models.map_attribution.MapGradients`; an unknown sum is null."""
    expected = found.expected.numpy()
    return {
        name: matrix_column(found.gradients.flatten(1).numpy()),
        f"{name}_outside": pa.array(found.outside.numpy()),
        f"{name}_expected": pa.array(expected, mask=np.isnan(expected)),
    }


PICTURE_GRADIENTS = Stage(
    name="picture_gradients",
    version=1,
    config=PictureGradientsConfig,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(
        Column("class", pa.int32()),
        Column("logit", pa.float64()),
        Column("probability", pa.float64()),
        *(
            column
            for name in ("gradient", "path")
            for column in (
                Column(name, Vector((pa.float32(),), "channel and position")),
                Column(f"{name}_outside", pa.float64()),
                Column(f"{name}_expected", pa.float64()),
            )
        ),
    ),
    uses_device=True,
    commands=("image",),
    is_checked=True,
)


def step(config: Config, layer: str, settings: GivenSettings) -> Step:
    """The gradients of one picture in one layer.

    Raises: ModelError: a class that the network does not have.
    """
    return Step(
        stage=PICTURE_GRADIENTS,
        config=PictureGradientsConfig(
            model=model_config(config),
            layer=layer,
            picture=settings.picture.digest,
            classes=tuple(dict.fromkeys(named_class(config, name)[0] for name in config.image.classes)),
            num_classes=config.image.num_classes,
            num_steps=config.image.path_steps,
            maxpool_gradient=config.sample.maxpool_gradient,
        ),
        settings=settings,
        layer=layer,
        view=settings.picture.name,
    )
