"""sample: one forward an image; at random positions the activation and its attribution to every logit.

All layers come from one pass over the images: their steps share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ImagesError, ModelError
from atlas_pipeline.numerics.positions import effective_edge, relative_positions, spatial_positions
from atlas_pipeline.schema import matrix_column, narrow
from atlas_pipeline.stages.opened import model_config, model_spec, opened_network

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network

CPU_BATCH, GPU_BATCH = 64, 512
COLUMNS = ("image_id", "label", "row", "col", "height", "width", "activation", "attribution")


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
    shards = [_Shard(job, network, rows) for job in jobs]
    batches = image_batches(
        rows,
        source=settings["source"],
        path=settings["path"],
        preprocess=network.preprocess,
        seed=settings["seed"],
        batch_size=runtime.batch_size or (GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH),
        num_workers=runtime.workers or 0,
    )
    bad: list[dict[str, Any]] = []
    for batch in batches:
        bad += [{"image_id": b.image_id, "key": b.key, "reason": b.reason} for b in batch.bad]
        _stop_at_too_many(bad, index.num_rows, settings["max_bad"])
        _add(batch.image_id, batch.images, shards, network, runtime.device)
        runtime.advance(len(batch.image_id) + len(batch.bad))
    return [shard.output(bad, network, runtime.device) for shard in shards]


def _add(
    image_ids: np.ndarray, images: torch.Tensor, shards: Sequence[_Shard], network: Network, device: str
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


class _Shard:
    """The rows of one layer and one task, gathered batch by batch."""

    def __init__(self, job: Job, network: Network, index_rows: pa.Table):
        self.config, self.layer = job.config, job.config["layer"]
        self.rows: list[dict[str, np.ndarray]] = []
        ids = index_rows["image_id"].to_pylist()
        self.label = dict(zip(ids, index_rows["label"].to_pylist(), strict=True))
        self.key = dict(zip(ids, index_rows["key"].to_pylist(), strict=True))
        self.classes = attributed_classes(self.config["attribution"], network)
        self.notes: dict[str, Any] = {
            "classes": self.classes,
            "num_classes": network.num_classes,
            "weights": network.weights_note,
        }

    def columns(
        self, image_ids: np.ndarray, images: torch.Tensor, feature_map: torch.Tensor, network: Network
    ) -> dict[str, np.ndarray]:
        """Columns of a batch: (image x position) rows, image by image."""
        import torch

        height, width = feature_map.shape[-2:]
        relative = relative_positions(self.config["seed"], image_ids, self.config["positions_per_image"])
        positions = spatial_positions(relative, height, width, self.config["edge"])
        self.notes |= {
            "height": height,
            "width": width,
            "edge": list(effective_edge(height, width, self.config["edge"])),
        }
        num_images, per_image = positions.shape[:2]
        which = torch.arange(num_images, device=feature_map.device)
        by_position: list[dict[str, np.ndarray]] = []
        for k in range(per_image):
            at = torch.from_numpy(positions[:, k].astype(np.int64)).to(feature_map.device)
            activation = feature_map[which, :, at[:, 0], at[:, 1]].float().cpu().numpy()
            self._check_finite(activation, image_ids)
            columns = {"activation": activation}
            if self.classes is not None:
                columns["attribution"] = self._attribution(network, images, at, feature_map)
                self._check_finite(columns["attribution"], image_ids)
            by_position.append(columns)
        out = {name: _interleave([c[name] for c in by_position]) for name in by_position[0]}
        ids = np.repeat(image_ids, per_image)
        size = np.broadcast_to(np.array([height, width], np.int16), (len(ids), 2))
        row_col = positions.reshape(-1, 2)
        return out | {
            "image_id": ids,
            "label": np.array([self.label[i] for i in ids.tolist()], np.int32),
            "row": row_col[:, 0],
            "col": row_col[:, 1],
            "height": size[:, 0],
            "width": size[:, 1],
        }

    def _attribution(
        self, network: Network, images: torch.Tensor, at: torch.Tensor, feature_map: torch.Tensor
    ) -> np.ndarray:
        from atlas_pipeline.models.attribution import attribution

        every = self.config["attribution"] == "all"
        values = attribution(
            network,
            images,
            self.layer,
            at,
            maxpool_gradient=self.config["maxpool_gradient"],
            feature_map=feature_map,
            classes=None if every else self.classes,
        )
        return values.float().cpu().numpy()

    def _check_finite(self, values: np.ndarray, image_ids: np.ndarray) -> None:
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            image_id = int(image_ids[int(np.argmin(finite))])
            raise ModelError(
                f"layer '{self.layer}' gives NaN or infinite values for image {image_id} "
                f"('{self.key[image_id]}'); check the weights and model.preprocess, "
                f"or leave the image out"
            )

    def output(self, bad: Sequence[Mapping[str, Any]], network: Network, device: str) -> Output:
        """The part: activation and attribution as float16, or as float32 where that would overflow."""
        rows = self.rows or [self._no_rows(network, device)]
        columns: dict[str, Any] = {}
        for name in (n for n in COLUMNS if n in rows[0]):
            values = np.concatenate([row[name] for row in rows])
            columns[name] = matrix_column(narrow(values)) if values.ndim == 2 else pa.array(values)
        return Output(table=pa.table(columns), notes={"bad": list(bad), **self.notes})

    def _no_rows(self, network: Network, device: str) -> dict[str, np.ndarray]:
        """Every image of the task was bad: the columns of one black image, with no row of it kept."""
        import torch

        from atlas_pipeline.models.capture import feature_maps

        side = network.preprocess.crop
        black = torch.zeros(1, 3, side, side, device=device)
        with torch.no_grad():
            feature_map = feature_maps(network, black, [self.layer])[self.layer]
        some_id = np.array([next(iter(self.label))])
        return {
            name: values[:0] for name, values in self.columns(some_id, black, feature_map, network).items()
        }


def attributed_classes(attribution: str | Sequence[str], network: Network) -> list[int] | None:
    """Logit indices that attributions are kept for; None: none.

    Raises: ModelError: a class the network does not have, the nearest named.
    """
    from atlas_pipeline.models import class_index

    if attribution == "none":
        return None
    if attribution == "all":
        return list(range(network.num_classes))
    return [class_index(network.class_names, name) for name in attribution]


def _interleave(by_position: Sequence[np.ndarray]) -> np.ndarray:
    """[(image, channel)] of every position -> (image x position, channel)."""
    stacked = np.stack(by_position, axis=1)
    return stacked.reshape(-1, stacked.shape[-1])


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
    version=1,
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
                **config.sample.model_dump(mode="json"),
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
