"""sample: take activations at random spatial positions, with their attribution to every logit.

Each image takes one forward pass. All layers share one pass over the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, MemoryNeed, Needs, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.extent import FEWER_NUMBERS, Extent, if_large
from atlas_pipeline.tables.image_rows import batch_size_of, batches_of_rows, tasks_of_images
from atlas_pipeline.tables.layer_shard import ComingRows, LayerShard

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network

# A row holds, beside its vectors: image, label, position and size of the map.
_PLACE_BYTES = 20
# Each number of a row takes float32 and float16 while a task gathers it, and float16 while the task before is
# written.
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleStepConfig:
    """Keys that an attribution method does not use keep their defaults and leave the fingerprint alone."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    positions_per_image: int
    edge: int
    attribution: str | Sequence[str]
    shard_size: int
    attribution_method: str = "gradient"
    integrated_steps: int | None = None
    maxpool_gradient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleInputs:
    """The images."""

    index: Artefact


SampleJob = Job[SampleStepConfig, SampleInputs]


def _compute(task: Task, jobs: Sequence[SampleJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.images.decoding_processes import prepare_workers
    from atlas_pipeline.models import check_layers

    if runtime.workers:
        # Workers import torch while this process opens the network.
        prepare_workers()
    settings, index = jobs[0].settings, jobs[0].inputs.index
    network = opened_network(settings.model, runtime.device)
    check_layers(network, [job.config.layer for job in jobs])
    rows = index.rows(task["start"], task["stop"])
    shards = [LayerShard(job, network, rows) for job in jobs]
    batch_size = batch_size_of(runtime)
    batches = batches_of_rows(
        rows, settings, runtime.device, batch_size=batch_size, num_workers=runtime.workers or 0
    )
    bad: list[dict[str, Any]] = []
    # The next batch is read while this one computes. A thread waits for the last one's rows and gathers them,
    # so that a GPU has the next batch to compute when it ends one.
    with closing(batches), ThreadPoolExecutor(1, thread_name_prefix="gather-rows") as thread:
        gathered = thread.submit(_gather, [])
        for batch in batches:
            bad += [{"image_id": b.image_id, "key": b.key, "reason": b.reason} for b in batch.bad]
            _refuse_too_many(bad, index.num_rows, settings.max_bad)
            batch_size = add_batch(batch.image_id, batch.images, shards, network, runtime.device, batch_size)
            gathered.result()
            gathered = thread.submit(_gather, [(shard, shard.take_rows()) for shard in shards])
            runtime.advance(len(batch.image_id) + len(batch.bad))
        gathered.result()
    return [shard.output(bad) for shard in shards]


def _gather(rows: Sequence[tuple[LayerShard, list[ComingRows]]]) -> None:
    for shard, of_shard in rows:
        shard.gather(of_shard)


def add_batch(
    image_ids: np.ndarray,
    images: torch.Tensor,
    shards: Sequence[LayerShard],
    network: Network,
    device: str,
    batch_size: int,
) -> int:
    """Run a batch forward and add its rows to every layer's shard, without waiting for them.

    Args:    batch_size: images per forward pass; halved while the GPU has no memory for so many.
    Returns: the batch size that fitted.
    """
    import torch

    start = 0
    while start < len(image_ids):
        chunk = slice(start, start + batch_size)
        rows = _rows_if_fit(image_ids[chunk], images[chunk], shards, network, device)
        if rows is None:
            # Free memory here, not in the except clause: there the error still holds the tensors.
            torch.cuda.empty_cache()
            batch_size = len(image_ids[chunk]) // 2
            continue
        for shard, new in zip(shards, rows, strict=True):
            shard.rows.append(new)
        start += batch_size
    return batch_size


def _rows_if_fit(
    image_ids: np.ndarray, images: torch.Tensor, shards: Sequence[LayerShard], network: Network, device: str
) -> list[ComingRows] | None:
    """The rows of each layer; None if the GPU lacks memory for the images. A single image must fit."""
    from atlas_pipeline.models.layer_samples import Arriving, layer_samples
    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    try:
        requests = [shard.request(image_ids) for shard in shards]
        arriving = Arriving(layer_samples(network, images.to(device, non_blocking=True), requests))
    except RuntimeError as error:
        if len(image_ids) == 1 or not is_out_of_memory(error):
            raise
        return None

    @cache
    def columns() -> list[Mapping[str, np.ndarray]]:
        samples, is_finite = arriving.wait()
        return [
            shard.columns(image_ids, request, sample, is_finite)
            for shard, request, sample in zip(shards, requests, samples, strict=True)
        ]

    def of_layer(number: int) -> Mapping[str, np.ndarray]:
        return columns()[number]

    return [partial(of_layer, number) for number in range(len(shards))]


def _refuse_too_many(
    bad: Sequence[Mapping[str, Any]],
    num_images: int,
    max_bad: float,
    remedy: str = "repair or remove them",
) -> None:
    if len(bad) > max_bad * num_images:
        first = bad[0]
        raise ImagesError(
            f"{len(bad)} of {num_images} images cannot be read, more than images.max_bad allows "
            f"({max_bad:.2%}); the first: '{first['key']}' ({first['reason']}); "
            f"{remedy}, or raise images.max_bad"
        )


def _summarise(job: SampleJob, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    bad = [b for part in notes for b in part["bad"]]
    # Each part alone was within the limit, and is kept. The remedy must make those parts again.
    remedy = "repair them and sample anew (atlas sample CONFIG --force)"
    _refuse_too_many(bad, job.inputs.index.num_rows, job.settings.max_bad, remedy)
    merged: dict[str, Any] = {}
    for part in notes:
        merged |= part
    return {**merged, "bad": bad, "num_bad": len(bad)}


def _needs(steps: Sequence[Step], extents: Sequence[Extent | None]) -> Needs:
    known = [extent for extent in extents if extent is not None]
    if not known:
        return Needs()
    config: SampleStepConfig = steps[0].config
    num_rows, width = known[0].num_rows, sum(extent.width for extent in known)
    disk_bytes = sum(int(e.share_left * num_rows * (2 * e.width + _PLACE_BYTES)) for e in known)
    shard_rows = max(1, config.shard_size * config.positions_per_image)
    # A task holds the rows of all layers for its shard of images.
    held_bytes = min(shard_rows, num_rows) * width * _NUMBER_BYTES
    need = MemoryNeed(
        f"sampling {config.shard_size:,} images",
        held_bytes,
        f"lower sample.shard_size, or {FEWER_NUMBERS}",
    )
    return Needs(disk_bytes, if_large(need))


def _remarks(step: Step, artefact: Artefact) -> Iterator[str]:
    notes, edge = artefact.notes, artefact.config["edge"]
    if notes["num_bad"]:
        yield f"{notes['num_bad']} images could not be read and were left out; sample's manifest names them"
    if any(used != edge for used in notes.get("edge", ())):
        yield (
            f"{step.layer}: the map of {notes['height']} x {notes['width']} positions is too small for "
            f"sample.edge {edge}: border positions were sampled too"
        )
    if remark := notes.get("attribution_remark"):
        yield f"{step.layer}: {remark}"


SAMPLE = Stage(
    name="sample",
    version=3,
    config=SampleStepConfig,
    inputs=SampleInputs,
    unit="images",
    split=lambda job: tasks_of_images(job.inputs.index.num_rows, job.config.shard_size),
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=(
        Column("image_id", pa.int64()),
        Column("label", pa.int32()),
        *(Column(name, pa.int16()) for name in ("row", "col", "height", "width")),
        Column("activation", Vector((pa.float16(), pa.float32()), "channel")),
        Column("attribution", Vector((pa.float16(), pa.float32()), "class"), optional=True),
    ),
    uses_device=True,
    commands=("sample",),
    is_checked=True,
    needs=_needs,
    remarks=_remarks,
)


def steps(config: Config, index: Step) -> dict[str, Step]:
    """One step per layer; the missing ones share one pass over the images."""
    sample, method, model = config.sample, config.sample.attribution_method, model_config(config)
    return {
        layer: Step(
            stage=SAMPLE,
            config=SampleStepConfig(
                model=model,
                layer=layer,
                seed=config.seed,
                positions_per_image=sample.positions_per_image,
                edge=sample.edge,
                attribution=sample.attribution,
                shard_size=sample.shard_size,
                attribution_method=method,
                integrated_steps=sample.integrated_steps
                if sample.attribution_method == "integrated"
                else None,
                maxpool_gradient=sample.maxpool_gradient if sample.attribution_method != "ablation" else None,
            ),
            inputs={"index": index},
            settings=run_settings(config),
            layer=layer,
            shared="sample",
        )
        for layer in config.layers
    }
