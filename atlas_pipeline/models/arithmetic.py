"""Precision of float32 convolutions and matrix products: full (IEEE), or TensorFloat-32 on a GPU.

On a GPU, torch lets cuDNN's convolutions use TensorFloat-32 unless told otherwise: its results differ from
float32 by up to 3e-3 of the largest value. A user's code may also allow bfloat16 on a CPU. So every number
that is stored, and every check that compares two float32 results, is computed within `ieee`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

# A switch of torch: a function that reads it and one that sets it.
Switch = tuple[Callable[[], Any], Callable[[Any], None]]


@contextmanager
def ieee() -> Iterator[None]:
    """Compute float32 in full precision within the block or the decorated function, on any device.

    Torch's own switches, which are global to the process, are restored afterwards.

    Example:

    >>> import torch
    >>> torch.set_float32_matmul_precision("high")
    >>> with ieee():
    ...     torch.backends.cuda.matmul.fp32_precision
    'ieee'
    >>> torch.backends.cuda.matmul.fp32_precision
    'tf32'
    >>> torch.set_float32_matmul_precision("highest")
    """
    with _switched("ieee", [*_gpu_switches(), *_cpu_switches()]):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Allow TensorFloat-32 on a GPU within the block; a CPU computes in full precision."""
    with _switched("tf32", _gpu_switches()), _switched("ieee", _cpu_switches()):
        yield


@contextmanager
def _switched(precision: str, switches: list[Switch]) -> Iterator[None]:
    before = [read() for read, _ in switches]
    try:
        for _, switch in switches:
            switch(precision)
        yield
    finally:
        for (_, switch), value in zip(switches, before, strict=True):
            switch(value)


def _gpu_switches() -> list[Switch]:
    """Torch refuses to read its older switches after code has used the newer ones, as a user's code may."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return [_present(matmul), _present(cudnn.conv)]
    return [_former(matmul), _former(cudnn)]


def _cpu_switches() -> list[Switch]:
    mkldnn: Any = torch.backends.mkldnn
    if hasattr(mkldnn, "conv"):
        return [_present(mkldnn.matmul), _present(mkldnn.conv)]
    return []


def _present(holder: Any) -> Switch:
    return lambda: holder.fp32_precision, lambda value: setattr(holder, "fp32_precision", value)


def _former(holder: Any) -> Switch:
    """The switch of a torch that has no `fp32_precision`."""
    return (
        lambda: holder.allow_tf32,
        lambda value: setattr(holder, "allow_tf32", value if isinstance(value, bool) else value == "tf32"),
    )
