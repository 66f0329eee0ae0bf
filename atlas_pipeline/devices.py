"""Which device the network runs on, and how many processes decode images."""

from __future__ import annotations

import os

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
