"""Which GPUs this process may use, without loading torch."""

from __future__ import annotations

import os
import subprocess


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
