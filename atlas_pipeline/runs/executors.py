"""Where the tasks of a command run: in this process, on workers of this machine, or on a Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

from atlas_pipeline.engine import Executor, InlineExecutor
from atlas_pipeline.engine.hardware import num_cores
from atlas_pipeline.runs.devices import available_memory_bytes, resolved_workers

LocalCluster = int | Literal["auto"]
"""Number of workers on this machine; 0: none, tasks run in this process; ``auto``: as many as pay."""

# A worker without a task takes half of this.
_WORKER_BYTES = 1 << 30


def executor_for(
    device: str, local_cluster: LocalCluster, cluster: str | None
) -> AbstractContextManager[Executor]:
    """The executor of a command.

    ``auto`` starts workers at once beside a GPU, and otherwise when the run proves long. A machine with one
    core, or with memory for one worker, gets none.

    Args:   device: resolved for this machine; not used if there is a cluster.
    Raises: ResourceError: the device is CUDA and no GPU is visible.
    """
    if cluster is None and local_cluster == 0:
        return nullcontext(_inline())
    # Import Dask only when it is used: the import takes seconds.
    from atlas_pipeline.engine import cluster as dask_cluster
    from atlas_pipeline.engine.lanes import cpu_lanes, gpu_lanes

    if cluster is not None:
        return dask_cluster.existing_cluster(cluster)
    most, memory_bytes = None if local_cluster == "auto" else local_cluster, available_memory_bytes()
    if device.startswith("cuda"):
        return dask_cluster.local_cluster(gpu_lanes(device, most=most, memory_bytes=memory_bytes))
    if most is not None:
        return dask_cluster.local_cluster(cpu_lanes(most, memory_bytes=memory_bytes))
    return _growing(memory_bytes)


def uses_gpu_itself(device: str, local_cluster: LocalCluster, cluster: str | None) -> bool:
    """Whether this process computes on a GPU; workers do so otherwise, and this process must not touch it."""
    return device.startswith("cuda") and cluster is None and local_cluster == 0


def current_gpu(device: str) -> AbstractContextManager[object]:
    """Make a GPU such as ``cuda:1`` the current one: torch would take memory on the first GPU too."""
    if ":" not in device:
        return nullcontext()
    import torch

    return torch.cuda.device(device)


def _inline() -> InlineExecutor:
    return InlineExecutor(decoders=resolved_workers("auto"))


@contextmanager
def _growing(memory_bytes: int) -> Iterator[Executor]:
    num_workers = min(num_cores(), memory_bytes // _WORKER_BYTES)
    if num_workers < 2:
        yield _inline()
        return
    from atlas_pipeline.engine.cluster import local_cluster
    from atlas_pipeline.engine.growing_executor import GrowingExecutor
    from atlas_pipeline.engine.lanes import cpu_lanes

    with local_cluster(cpu_lanes(num_workers, memory_bytes=memory_bytes)) as workers:
        yield GrowingExecutor(_inline(), workers)
