"""Numeric precision of the network during optimisation: float32, TensorFloat-32 or bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def arithmetic(name: str, device: torch.device) -> Iterator[None]:
    """Run the network in precision ``name`` within the block; on a CPU, `tf32` falls back to float32."""
    if name == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
    elif name == "tf32" and device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    else:
        yield
