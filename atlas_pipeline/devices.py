"""What the machine has: the device the network runs on, the processes that decode images, the memory."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from atlas_pipeline.errors import ResourceError

# More decoders than this starve on the disk before they feed a faster GPU.
MOST_WORKERS = 16


def resolved_device(device: str) -> str:
    """``auto`` to the GPU where there is one.

    Raises: ResourceError: a GPU was asked for that is not there.
    """
    if device == "cpu":
        return device
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if there else "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= there:
        raise ResourceError(
            f"run.device {device}: this machine has {there} usable GPUs; use cpu or auto"
            + (f", or cuda:0 to cuda:{there - 1}" if there else "")
        )
    return device


def check_engine(engine: str, device: str) -> None:
    """Refuse ``project.engine: gpu`` where the run has none.

    Raises: ResourceError.
    """
    if engine == "gpu" and device == "cpu":
        raise ResourceError(
            "project.engine gpu: the run's device is the CPU; "
            "use project.engine: parallel, or run.device: cuda"
        )


def resolved_workers(workers: int | str) -> int:
    """``auto``: one decoding process a core."""
    if workers != "auto":
        return int(workers)
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def available_memory_bytes() -> int:
    """Memory that processes can still take: what the system has, within what a container's limit leaves."""
    return min([psutil.virtual_memory().available, *_left_in_containers(Path("/sys/fs/cgroup"))])


def _left_in_containers(root: Path) -> list[int]:
    """Of each limit on memory (Linux control groups, version 2 and 1) what is not used yet."""
    left = []
    for limit, used, inactive in (
        (root / "memory.max", root / "memory.current", "inactive_file"),
        (
            root / "memory" / "memory.limit_in_bytes",
            root / "memory" / "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        try:
            # Pages of files that were read count as used, and are given up when memory is asked for.
            cached = _stat(limit.parent / "memory.stat").get(inactive, 0)
            left.append(max(0, int(limit.read_text()) - int(used.read_text()) + cached))
        except (OSError, ValueError):
            continue  # no such control group here, or "max": no limit
    return left


def _stat(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
