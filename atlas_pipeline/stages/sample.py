"""sample: one forward an image; at random positions the activation and its attribution to every logit.

All layers come from one pass over the images: their steps share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_pipeline.config import Config, SampleConfig
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.stages.layer_shard import LayerShard
from atlas_pipeline.stages.opened import model_config, model_spec, opened_network

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network

CPU_BATCH, GPU_BATCH = 64, 512


def _split(job: Job) -> list[Task]:
    num_images, shard = job.inputs["index"].num_rows, job.config["shard_size"]
    return [{"start": s, "stop": min(s + shard, num_images)} for s in range(0, num_images, shard)]


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.images.batches import image_batches, prepare_workers
    from atlas_pipeline.models import check_layers

    if runtime.workers:
        # They import torch while we open the network.
        prepare_workers()
    settings, index = jobs[0].settings, jobs[0].inputs["index"]
    network = opened_network(settings["model"], runtime.device)
    check_layers(network, [job.config["layer"] for job in jobs])
    rows = index.rows(task["start"], task["stop"])
    shards = [LayerShard(job, network, rows) for job in jobs]
    batches = image_batches(
        rows,
        source=settings["source"],
        path=settings["path"],
        preprocess=network.preprocess,
        seed=settings["seed"],
        batch_size=runtime.batch_size or (GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH),
        num_workers=runtime.workers or 0,
        pin=runtime.device.startswith("cuda"),
    )
    bad: list[dict[str, Any]] = []
    for batch in batches:
        bad += [{"image_id": b.image_id, "key": b.key, "reason": b.reason} for b in batch.bad]
        _stop_at_too_many(bad, index.num_rows, settings["max_bad"])
        _add(batch.image_id, batch.images, shards, network, runtime.device)
        runtime.advance(len(batch.image_id) + len(batch.bad))
    return [shard.output(bad, network, runtime.device) for shard in shards]


def _add(
    image_ids: np.ndarray, images: torch.Tensor, shards: Sequence[LayerShard], network: Network, device: str
) -> None:
    """Forward a batch once and give every layer its rows; a batch too large for the GPU is halved."""
    import torch

    from atlas_pipeline.models.capture import feature_maps

    if len(image_ids) == 0:
        return
    try:
        batch = images.to(device, non_blocking=True).float() / 255
        with torch.no_grad():
            maps = feature_maps(network, batch, [shard.layer for shard in shards])
        columns = [shard.columns(image_ids, batch, maps[shard.layer], network) for shard in shards]
    except torch.cuda.OutOfMemoryError:
        half = len(image_ids) // 2
        if not half:
            raise
        torch.cuda.empty_cache()
        _add(image_ids[:half], images[:half], shards, network, device)
        _add(image_ids[half:], images[half:], shards, network, device)
        return
    for shard, new in zip(shards, columns, strict=True):
        shard.rows.append(new)


def _stop_at_too_many(bad: Sequence[Mapping[str, Any]], num_images: int, max_bad: float) -> None:
    if len(bad) > max_bad * num_images:
        first = bad[0]
        raise ImagesError(
            f"{len(bad)} of {num_images} images cannot be read, more than images.max_bad allows "
            f"({max_bad:.2%}); the first: '{first['key']}' ({first['reason']}). "
            f"Mend or remove them, or raise images.max_bad"
        )


def _summarise(job: Job, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    bad = [b for part in notes for b in part["bad"]]
    _stop_at_too_many(bad, job.inputs["index"].num_rows, job.settings["max_bad"])
    same: dict[str, Any] = {}
    for part in notes:
        same |= part
    return {**same, "bad": bad, "num_bad": len(bad)}


def num_bad(artefact: Artefact) -> int:
    """How many images of a sample could not be read."""
    return int(artefact.notes["num_bad"])


def edge_fallback(artefact: Artefact) -> str | None:
    """What to say of a map too small to leave its border out; None where it was left out as asked."""
    notes, edge = artefact.notes, artefact.config["edge"]
    if all(used == edge for used in notes.get("edge", ())):
        return None
    size = f"{notes['height']} x {notes['width']}"
    return (
        f"the map of {size} positions is too small for sample.edge {edge}: border positions were sampled too"
    )


SAMPLE = Stage(
    name="sample",
    version=2,
    unit="images",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
)


def steps(config: Config, index: Step) -> dict[str, Step]:
    """One step a layer; those that are missing share one pass over the images."""
    model = model_config(config)
    return {
        layer: Step(
            stage=SAMPLE,
            config={
                "model": model,
                "layer": layer,
                "seed": config.seed,
                **_fingerprinted(config.sample),
            },
            inputs={"index": index},
            settings={
                "model": model_spec(config),
                "source": config.images.source,
                "path": config.images.path,
                "seed": config.seed,
                "max_bad": config.images.max_bad,
            },
            layer=layer,
            shared="sample",
        )
        for layer in config.layers
    }


# A key that a method does not use must not make its samples anew.
UNUSED_BY = {
    "gradient": {"attribution_method", "integrated_steps"},
    "integrated": set[str](),
    "ablation": {"integrated_steps", "maxpool_gradient"},
}


def _fingerprinted(sample: SampleConfig) -> Mapping[str, Any]:
    return sample.model_dump(mode="json", exclude=UNUSED_BY[sample.attribution_method])
