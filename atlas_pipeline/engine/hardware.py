"""Cores and GPUs that this process may use; only resolving a device loads torch."""

from __future__ import annotations

import os
import subprocess
import warnings

from atlas_pipeline.errors import ResourceError


def num_cores() -> int:
    """Number of cores that this process may run on: of its affinity, or of its container's CPU quota."""
    # Import Dask only here: `atlas status` never asks.
    from dask.system import cpu_count

    return cpu_count()


def resolved_device(device: str) -> str:
    """Resolve ``auto`` to the GPU if torch can use one, else to the CPU.

    Raises: ResourceError: torch cannot use the requested GPU.
    """
    if device == "cpu":
        return device
    usable = _num_usable_gpus()
    if device == "auto":
        return "cuda" if usable else "cpu"
    number = int(device.partition(":")[2] or 0)
    if number >= usable:
        reason = unusable_gpu() or f"torch finds {usable} GPUs on this machine"
        others = f", or cuda:0 to cuda:{usable - 1}" if usable else ""
        raise ResourceError(f"run.device {device}: {reason}; use cpu or auto{others}")
    return device


def device_title(device: str) -> str:
    """A resolved device in words for the user, such as ``cuda:1 (NVIDIA H200)`` or ``CPU (16 cores)``."""
    if device == "cpu":
        cores = num_cores()
        return f"CPU ({cores} core{'s' if cores > 1 else ''})"
    visible, number = visible_gpus(), int(device.partition(":")[2] or 0)
    # By the driver: torch would initialise CUDA, and the GPU may belong to a worker.
    found = _listed_gpus("name", visible[number]) if number < len(visible) else []
    return f"{device} ({found[0]})" if found else device


def unusable_gpu() -> str | None:
    """Why torch uses no GPU although the driver lists one, with the remedy; otherwise None."""
    import torch

    listed = _listed_gpus("name,driver_version")
    if _num_usable_gpus() or not listed or not visible_gpus():
        return None
    name, _, driver = listed[0].partition(", ")
    if torch.version.cuda is None:
        return f"torch has no CUDA, but the machine has a GPU ({name}); install a torch built for CUDA"
    return (
        f"torch cannot use this machine's GPU ({name}): its driver {driver} may be too old for torch's CUDA "
        f"{torch.version.cuda}; update the driver, or install a torch built for an older CUDA"
    )


def visible_gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them; if it is not set, all GPUs that the driver lists."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return _listed_gpus("index")


def num_gpus() -> int:
    """Number of GPUs that the driver lists, whether this process sees them or not."""
    return len(_listed_gpus("index"))


def _num_usable_gpus() -> int:
    import torch

    with warnings.catch_warnings():
        # Torch warns of a driver that is too old; `unusable_gpu` says it in one line, with the remedy.
        warnings.simplefilter("ignore")
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _listed_gpus(fields: str, gpu: str | None = None) -> list[str]:
    """One line of ``nvidia-smi`` for each GPU, or for one of them; empty if there is no driver."""
    which = [] if gpu is None else [f"--id={gpu}"]
    try:
        listed = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", *which],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()]
