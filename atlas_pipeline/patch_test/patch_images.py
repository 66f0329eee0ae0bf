"""patch_images: images of a class that the network gets right, for patches to be pasted onto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.network import RunSettings, labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.listing import class_names
from atlas_pipeline.models.labels import wordnet_ids
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.chosen_images import batches_of

if TYPE_CHECKING:
    from atlas_pipeline.models import Network

CPU_BATCH, GPU_BATCH = 64, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchImagesStepConfig:
    """labels: digest of the file of class labels, for names tell which images are meant. class_: a logit."""

    model: Mapping[str, Any]
    labels: str | None
    class_: int
    num_images: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchImagesSettings:
    """label: what the class is called."""

    run: RunSettings
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchImagesInputs:
    """The images of the run."""

    index: Artefact


PatchImagesJob = Job[PatchImagesStepConfig, PatchImagesInputs]


def _compute(task: Task, jobs: Sequence[PatchImagesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    wanted = job.config.num_images
    network = opened_network(job.settings.run.model, runtime.device)
    labels = job.inputs.index.read(["label"])["label"].to_numpy()
    meaning = _labels_of_class(job, labels, network)
    candidates = np.arange(len(labels)) if meaning is None else np.flatnonzero(np.isin(labels, meaning))
    drawn = np.random.default_rng(job.config.seed).permutation(candidates)
    right: dict[int, float] = {}
    tried, more = 0, 2 * wanted
    while tried < len(drawn) and len(right) < wanted:
        before = len(right)
        right |= _right(job, drawn[tried : tried + more], network, runtime)
        runtime.advance(min(len(right), wanted) - before)
        tried, more = min(tried + more, len(drawn)), 2 * more
    if not right:
        raise ImagesError(_none_right(job, meaning is not None, len(drawn)))
    # Of the images found the first in the order drawn: how many were tried at once makes no difference.
    chosen = sorted([int(image_id) for image_id in drawn if int(image_id) in right][:wanted])
    runtime.advance(task["num_images"] - len(chosen))
    table = pa.table(
        {
            "image_id": pa.array(chosen, pa.int64()),
            "probability": pa.array([right[image_id] for image_id in chosen], pa.float32()),
        }
    )
    notes = {
        "labelled": meaning is not None,
        "num_candidates": len(drawn),
        "num_classes": network.num_classes,
        "image_px": network.preprocess.crop,
    }
    return [Output(table=table, notes=notes)]


def _labels_of_class(job: PatchImagesJob, labels: np.ndarray, network: Network) -> list[int] | None:
    """The images' labels that mean the class; None where labels do not tell the network's classes."""
    index, names, settings = job.config.class_, network.class_names, job.settings.run
    images_own = class_names(settings.source, settings.path, settings.label_column)
    if images_own is None:
        return [index] if int(labels.max(initial=-1)) + 1 == len(names) else None
    ids = wordnet_ids(settings.model, len(names))
    # ImageNet has two cranes: then the name tells nothing.
    known = {names[index].lower()} if names.count(names[index]) == 1 else set()
    known |= {ids[index]} if ids is not None else set()
    named = [label for label, name in enumerate(images_own) if name.lower() in known]
    return named or ([index] if len(images_own) == len(names) else None)


def _right(
    job: PatchImagesJob, image_ids: np.ndarray, network: Network, runtime: Runtime
) -> dict[int, float]:
    """Image id -> probability of the class, of those of the images that the network takes for it."""
    from atlas_pipeline.patch_test.pasting import answers

    size = runtime.batch_size or (GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH)
    right: dict[int, float] = {}
    for batch in batches_of(
        job.inputs.index,
        image_ids,
        job.settings.run,
        runtime.device,
        batch_size=size,
        num_workers=runtime.workers or 0,
    ):
        if len(batch.image_id):
            answer, probability = answers(network, batch.images, size)
            hits = (answer == job.config.class_).numpy()
            right |= dict(zip(batch.image_id[hits].tolist(), probability.numpy()[hits].tolist(), strict=True))
    return right


def _none_right(job: PatchImagesJob, labelled: bool, num_candidates: int) -> str:
    name = job.settings.label
    if not labelled:
        why = f"the network takes none of the {num_candidates:,} images for '{name}'"
    elif num_candidates:
        why = f"the network gets none of the {num_candidates:,} images of '{name}' right"
    else:
        why = f"none of the images is of '{name}'"
    return f"patch test of {job.view}: {why}; give more images, or compare from another class"


PATCH_IMAGES = Stage(
    name="patch_images",
    version=1,
    config=PatchImagesStepConfig,
    inputs=PatchImagesInputs,
    unit="images",
    split=lambda job: [{"num_images": min(job.config.num_images, job.inputs.index.num_rows)}],
    size=lambda task: task["num_images"],
    compute=_compute,
    columns=(Column("image_id", pa.int64()), Column("probability", pa.float32())),
    commands=("patch-test",),
)


def step(config: Config, view: str, left: tuple[int, str], index: Step) -> Step:
    """The images of a comparison's left class, logit and label; all layers share them."""
    return Step(
        stage=PATCH_IMAGES,
        config=PatchImagesStepConfig(
            model=model_config(config),
            labels=labels_digest(config),
            class_=left[0],
            num_images=config.patch_test.num_images,
            seed=config.seed,
        ),
        inputs={"index": index},
        settings=PatchImagesSettings(run=run_settings(config), label=left[1]),
        view=view,
    )
