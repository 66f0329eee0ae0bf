"""What this process may use: cores, and GPUs; these without loading torch, but to resolve a device."""

from __future__ import annotations

import os
import subprocess

from atlas_pipeline.errors import ResourceError


def num_cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them; all that the driver lists where it is not set."""
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
