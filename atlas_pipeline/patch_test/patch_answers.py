"""patch_answers: record the network's answer to every patch on every image, at every size and corner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.patch_test.placement import CORNERS, patch_px
from atlas_pipeline.pictures.png_codec import picture_of
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.image_rows import batch_size_of

if TYPE_CHECKING:
    import torch

# A killed run loses at most one task per worker, and memory holds the images of one task. With a patch at
# four corners these images make one batch.
IMAGES_PER_TASK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchAnswersStepConfig:
    """sizes: sides of a patch, as shares of the image's side."""

    model: Mapping[str, Any]
    sizes: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchAnswersInputs:
    """The images of the run, the patches, and the images that get the patches."""

    index: Artefact
    patches: Artefact
    patch_images: Artefact


PatchAnswersJob = Job[PatchAnswersStepConfig, PatchAnswersInputs]


def _split(job: PatchAnswersJob) -> list[Task]:
    num_images = job.inputs.patch_images.num_rows
    times = job.inputs.patches.num_rows * len(job.config.sizes) * len(CORNERS)
    if not times:
        return [{"start": 0, "stop": 0, "times": 0}]
    return [
        {"start": start, "stop": min(start + IMAGES_PER_TASK, num_images), "times": times}
        for start in range(0, num_images, IMAGES_PER_TASK)
    ]


def _compute(task: Task, jobs: Sequence[PatchAnswersJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    if not task["times"]:
        # No cell pulls to the right class; the report gives this as the reason.
        return [Output(table=_table(np.zeros(0, np.int64), np.zeros((0, 1)), np.zeros((0, 1))))]
    ids = job.inputs.patch_images.rows(task["start"], task["stop"], ["image_id"])["image_id"].to_numpy()
    images = images_of(job.inputs.index, ids, job.settings, runtime.device)
    return [Output(table=_table(ids, *_answers(job, images, runtime)))]


def _table(image_id: np.ndarray, answer: np.ndarray, probability: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "image_id": pa.array(image_id),
            "answer": matrix_column(answer.astype(np.int32)),
            "probability": matrix_column(probability.astype(np.float32)),
        }
    )


def _answers(job: PatchAnswersJob, images: torch.Tensor, runtime: Runtime) -> tuple[np.ndarray, np.ndarray]:
    """The top class and its probability: (image, patch x size x corner) each."""
    from atlas_pipeline.models.answers import answers
    from atlas_pipeline.patch_test.pasting import paste_at_corners

    network = opened_network(job.settings.model, runtime.device)
    images = images.to(runtime.device)
    image_px, batch_size = images.shape[-1], batch_size_of(runtime)
    found = []
    for png in job.inputs.patches.read(["patch"])["patch"].to_pylist():
        for share in job.config.sizes:
            pasted = paste_at_corners(images, resized(picture_of(png), patch_px(image_px, share)))
            found.append(answers(network, pasted.flatten(0, 1), batch_size))
            runtime.advance(pasted.shape[0] * pasted.shape[1])

    def by_image(values: Sequence[torch.Tensor]) -> np.ndarray:
        together = np.stack([value.numpy() for value in values])
        # (patch x size, corner x image) -> (image, patch x size x corner)
        return together.reshape(-1, len(images)).T

    return by_image([answer for answer, _ in found]), by_image([probability for _, probability in found])


PATCH_ANSWERS = Stage(
    name="patch_answers",
    version=1,
    config=PatchAnswersStepConfig,
    inputs=PatchAnswersInputs,
    unit="patched images",
    split=_split,
    size=lambda task: (task["stop"] - task["start"]) * task["times"],
    compute=_compute,
    columns=(
        Column("image_id", pa.int64()),
        Column("answer", Vector((pa.int32(),), "patch x size x corner")),
        Column("probability", Vector((pa.float32(),), "patch x size x corner")),
    ),
    uses_device=True,
    commands=("patch-test",),
)


def step(config: Config, index: Step, patches: Step, images: Step) -> Step:
    """The network's answers to the patches of one comparison."""
    return Step(
        stage=PATCH_ANSWERS,
        config=PatchAnswersStepConfig(model=model_config(config), sizes=config.patch_test.sizes),
        inputs={"index": index, "patches": patches, "patch_images": images},
        settings=run_settings(config),
        layer=patches.layer,
        view=patches.view,
        grid=patches.grid,
    )
