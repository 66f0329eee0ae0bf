"""sample: one forward an image; at random positions the activation and its attribution to every logit.

All layers come from one pass over the images: their steps share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from atlas_pipeline.config.network import model_config, model_spec
from atlas_pipeline.config.sections import Config, SampleConfig
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.layer_shard import LayerShard

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
    at_once = runtime.batch_size or (GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH)
    batches = image_batches(
        rows,
        source=settings["source"],
        path=settings["path"],
        root=settings["root"],
        preprocess=network.preprocess,
        seed=settings["seed"],
        batch_size=at_once,
        num_workers=runtime.workers or 0,
        pin=runtime.device.startswith("cuda"),
    )
    bad: list[dict[str, Any]] = []
    for batch in batches:
        bad += [{"image_id": b.image_id, "key": b.key, "reason": b.reason} for b in batch.bad]
        _stop_at_too_many(bad, index.num_rows, settings["max_bad"])
        at_once = add_batch(batch.image_id, batch.images, shards, network, runtime.device, at_once)
        runtime.advance(len(batch.image_id) + len(batch.bad))
    return [shard.output(bad, network, runtime.device) for shard in shards]


def add_batch(
    image_ids: np.ndarray,
    images: torch.Tensor,
    shards: Sequence[LayerShard],
    network: Network,
    device: str,
    at_once: int,
) -> int:
    """Forward a batch and give every layer its rows, ``at_once`` images together, or as many as fit.

    Returns: how many fitted together.
    """
    import torch

    start = 0
    while start < len(image_ids):
        some = slice(start, start + at_once)
        columns = _columns_if_fit(image_ids[some], images[some], shards, network, device)
        if columns is None:
            # Not where the error was caught: there it still holds the tensors that did not fit.
            torch.cuda.empty_cache()
            at_once = len(image_ids[some]) // 2
            continue
        for shard, new in zip(shards, columns, strict=True):
            shard.rows.append(new)
        start += at_once
    return at_once


def _columns_if_fit(
    image_ids: np.ndarray, images: torch.Tensor, shards: Sequence[LayerShard], network: Network, device: str
) -> list[dict[str, np.ndarray]] | None:
    """The rows of each layer; None where the GPU has no room for so many images, and for fewer it might."""
    import torch

    from atlas_pipeline.models.capture import feature_maps

    try:
        batch = images.to(device, non_blocking=True).float() / 255
        with torch.no_grad():
            maps = feature_maps(network, batch, [shard.layer for shard in shards])
        return [shard.columns(image_ids, batch, maps[shard.layer], network) for shard in shards]
    except torch.cuda.OutOfMemoryError:
        if len(image_ids) == 1:
            raise
        return None


def _stop_at_too_many(
    bad: Sequence[Mapping[str, Any]],
    num_images: int,
    max_bad: float,
    remedy: str = "mend or remove them",
) -> None:
    if len(bad) > max_bad * num_images:
        first = bad[0]
        raise ImagesError(
            f"{len(bad)} of {num_images} images cannot be read, more than images.max_bad allows "
            f"({max_bad:.2%}); the first: '{first['key']}' ({first['reason']}); "
            f"{remedy}, or raise images.max_bad"
        )


def _summarise(job: Job, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    bad = [b for part in notes for b in part["bad"]]
    # Each part alone was within the limit, and is kept.
    remedy = "mend them and sample anew (atlas sample CONFIG --force)"
    _stop_at_too_many(bad, job.inputs["index"].num_rows, job.settings["max_bad"], remedy)
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


def attribution_remark(artefact: Artefact) -> str | None:
    """A remark on how a sample's attributions were computed; None where there is nothing to say."""
    remark = artefact.notes.get("attribution_remark")
    return None if remark is None else str(remark)


SAMPLE = Stage(
    name="sample",
    version=3,
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
                **config.images.place,
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
