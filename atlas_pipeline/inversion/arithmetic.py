"""Numeric precision of the network during optimisation: float32, TensorFloat-32 or bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def arithmetic(name: str, device: torch.device) -> Iterator[None]:
    """Run the network in precision ``name`` within the block; on a CPU, `tf32` falls back to float32."""
    if name == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
    elif name == "tf32" and device.type == "cuda":
        switches = _tf32_switches()
        before = [getattr(holder, switch) for holder, switch, _ in switches]
        try:
            for holder, switch, on in switches:
                setattr(holder, switch, on)
            yield
        finally:
            for (holder, switch, _), value in zip(switches, before, strict=True):
                setattr(holder, switch, value)
    else:
        yield


def _tf32_switches() -> list[tuple[Any, str, Any]]:
    """Torch's TF32 switches for matrix products and convolutions: holder, attribute, value that is on.

    Torch refuses to read its older switches after code has used the newer ones, as a user's code may.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return [(matmul, "fp32_precision", "tf32"), (cudnn.conv, "fp32_precision", "tf32")]
    return [(matmul, "allow_tf32", True), (cudnn, "allow_tf32", True)]
