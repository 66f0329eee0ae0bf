"""The images of index rows, read in tasks and batches."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pyarrow as pa

from atlas_pipeline.config.run_settings import RunSettings
from atlas_pipeline.engine.stage import Runtime, Task
from atlas_pipeline.models.network_cache import opened_network

if TYPE_CHECKING:
    from atlas_pipeline.images.batches import Batch

# Images of a forward pass.
CPU_BATCH, GPU_BATCH = 64, 512


def tasks_of_images(num_images: int, shard_size: int) -> list[Task]:
    """Tasks of at most ``shard_size`` images each.

    >>> tasks_of_images(5, 2)
    [{'start': 0, 'stop': 2}, {'start': 2, 'stop': 4}, {'start': 4, 'stop': 5}]
    """
    return [{"start": s, "stop": min(s + shard_size, num_images)} for s in range(0, num_images, shard_size)]


def batch_size_of(runtime: Runtime) -> int:
    """Images of a forward pass: as many as the run says, else the number for its device."""
    return runtime.batch_size or (GPU_BATCH if runtime.device.startswith("cuda") else CPU_BATCH)


def batches_of_rows(
    rows: pa.Table,
    settings: RunSettings,
    device: str,
    *,
    batch_size: int,
    num_workers: int = 0,
    on_device: bool = True,
) -> Generator[Batch]:
    """The images of index rows, preprocessed as the network receives them; see `image_batches`.

    Args: device: of the network. on_device: send the images there, a batch ahead, if it is a GPU.
    """
    from atlas_pipeline.images.batches import image_batches

    return image_batches(
        rows,
        source=settings.source,
        path=settings.path,
        root=settings.root,
        preprocess=opened_network(settings.model, device).preprocess,
        seed=settings.seed,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device if on_device else "cpu",
    )
