"""crops: cut real images to the icons' size: the reference for legibility and the baseline for fidelity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.pictures.png_codec import png_of
from atlas_pipeline.tables.chosen_images import batches_of

if TYPE_CHECKING:
    import torch

NUM_CROPS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CropsStepConfig:
    """model: its full identity, because the preprocessing may come from its code or from its weights."""

    model: Mapping[str, Any]
    size_px: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CropsInputs:
    """The images."""

    index: Artefact


def _compute(task: Task, jobs: Sequence[Job[CropsStepConfig, CropsInputs]], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    index, settings = job.inputs.index, job.settings
    rng = np.random.default_rng(job.config.seed)
    chosen = rng.permutation(index.num_rows)[:NUM_CROPS]
    batches = batches_of(index, chosen, settings, runtime.device, batch_size=NUM_CROPS)
    ids, crops = [], []
    for batch in batches:
        ids += batch.image_id.tolist()
        crops += [_crop(image, job.config.size_px, rng) for image in batch.images]
    runtime.advance(len(ids))
    return [
        Output(table=pa.table({"image_id": pa.array(ids, pa.int64()), "crop": pa.array(crops, pa.binary())}))
    ]


def _crop(image: torch.Tensor, size_px: int, rng: np.random.Generator) -> bytes:
    """PNG of a random square of an image, (3, height, width) uint8; a smaller image is enlarged first."""
    from PIL import Image

    pixels = Image.fromarray(image.permute(1, 2, 0).numpy())
    if min(pixels.size) < size_px:
        pixels = pixels.resize((size_px, size_px), Image.Resampling.BICUBIC)
    left, top = (int(rng.integers(0, side - size_px + 1)) for side in pixels.size)
    return png_of(np.asarray(pixels.crop((left, top, left + size_px, top + size_px))))


CROPS = Stage(
    name="crops",
    version=1,
    config=CropsStepConfig,
    inputs=CropsInputs,
    unit="images",
    split=lambda job: [{}],
    size=lambda task: NUM_CROPS,
    compute=_compute,
    columns=(Column("image_id", pa.int64()), Column("crop", pa.binary())),
    commands=("invert",),
)


def step(config: Config, index: Step) -> Step:
    """Crops of real images at the icons' size."""
    return Step(
        stage=CROPS,
        config=CropsStepConfig(model=model_config(config), size_px=config.invert.size_px, seed=config.seed),
        inputs={"index": index},
        settings=run_settings(config),
    )
