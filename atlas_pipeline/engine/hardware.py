"""Cores and GPUs that this process may use; only resolving a device loads torch."""

from __future__ import annotations

import os
import subprocess

from atlas_pipeline.errors import ResourceError


def num_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolved_device(device: str) -> str:
    """Resolve ``auto`` to the GPU if there is one, else to the CPU.

    Raises: ResourceError: the requested GPU does not exist.
    """
    if device == "cpu":
        return device
    import torch

    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if num_gpus else "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= num_gpus:
        raise ResourceError(
            f"run.device {device}: this machine has {num_gpus} usable GPUs; use cpu or auto"
            + (f", or cuda:0 to cuda:{num_gpus - 1}" if num_gpus else "")
        )
    return device


def visible_gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them; if it is not set, all GPUs that the driver lists."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()
