"""patch_images: choose images of a class that the network classifies correctly, to paste patches onto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings, labels_digest, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.image_rows import batch_size_of
from atlas_pipeline.views.class_names import classes_of_labels

if TYPE_CHECKING:
    from atlas_pipeline.models import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchImagesStepConfig:
    """labels: digest of the file of class labels, by which images are found. class_: index of the logit."""

    model: Mapping[str, Any]
    labels: str | None
    class_: int
    num_images: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchImagesSettings:
    """label: the name of the class."""

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
    matching = _labels_of_class(job, labels, network)
    candidates = np.arange(len(labels)) if matching is None else np.flatnonzero(np.isin(labels, matching))
    drawn = np.random.default_rng(job.config.seed).permutation(candidates)
    correct: dict[int, float] = {}
    num_tried, num_next = 0, 2 * wanted
    while num_tried < len(drawn) and len(correct) < wanted:
        before = len(correct)
        correct |= _correct(job, drawn[num_tried : num_tried + num_next], network, runtime)
        runtime.advance(min(len(correct), wanted) - before)
        num_tried, num_next = min(num_tried + num_next, len(drawn)), 2 * num_next
    if not correct:
        raise ImagesError(_none_correct(job, matching is not None, len(drawn)))
    # Take the first correct images in the order drawn, so that the number tried at once makes no difference.
    chosen = sorted([int(image_id) for image_id in drawn if int(image_id) in correct][:wanted])
    runtime.advance(task["num_images"] - len(chosen))
    table = pa.table(
        {
            "image_id": pa.array(chosen, pa.int64()),
            "probability": pa.array([correct[image_id] for image_id in chosen], pa.float32()),
        }
    )
    notes = {
        "labelled": matching is not None,
        "num_candidates": len(drawn),
        "num_classes": network.num_classes,
        "image_px": network.preprocess.crop,
    }
    return [Output(table=table, notes=notes)]


def _labels_of_class(job: PatchImagesJob, labels: np.ndarray, network: Network) -> list[int] | None:
    """The image labels that stand for the class; None if no label can be matched to it."""
    classes = classes_of_labels(job.settings.run, int(labels.max(initial=-1)), network)
    matching = [] if classes is None else np.flatnonzero(classes == job.config.class_).tolist()
    return matching or None


def _correct(
    job: PatchImagesJob, image_ids: np.ndarray, network: Network, runtime: Runtime
) -> dict[int, float]:
    """Image id -> probability of the class, for those images that the network assigns to the class."""
    from atlas_pipeline.models.answers import answers

    size = batch_size_of(runtime)
    correct: dict[int, float] = {}
    batches = batches_of(
        job.inputs.index,
        image_ids,
        job.settings.run,
        runtime.device,
        batch_size=size,
        num_workers=runtime.workers or 0,
        on_device=True,
    )
    with closing(batches):
        for batch in batches:
            if len(batch.image_id):
                answer, probability = answers(network, batch.images, size)
                hits = (answer == job.config.class_).numpy()
                found = zip(batch.image_id[hits].tolist(), probability.numpy()[hits].tolist(), strict=True)
                correct |= dict(found)
    return correct


def _none_correct(job: PatchImagesJob, labelled: bool, num_candidates: int) -> str:
    name = job.settings.label
    if not labelled:
        why = f"the network takes none of the {num_candidates:,} images for '{name}'"
    elif num_candidates:
        why = f"the network gets none of the {num_candidates:,} images of '{name}' right"
    else:
        why = f"none of the images is labelled '{name}'"
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
    uses_device=True,
    commands=("patch-test",),
)


def step(config: Config, view: str, left: tuple[int, str], index: Step) -> Step:
    """The images of a comparison's left class; all layers share them. left: logit and label."""
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
