"""A pretended GPU's account: waits, launches, bytes moved, devices touched; and the errors to raise."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FrameType

import torch

_OUR_FOLDERS = ("/atlas_pipeline/", "/pipelines/", "/scripts/")

OUT_OF_MEMORY: dict[str, Callable[[], Exception]] = {
    "torch": lambda: torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.00 GiB"
    ),
    "cublas": lambda: RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "driver": lambda: getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: out of memory"),
}
"""The errors with which torch and its libraries report a lack of memory, by source.

driver: pinning host memory, creating a context, launching a graph.
"""


@dataclass
class Refusal:
    """An error to raise at chosen operations."""

    error: Callable[[], Exception]
    operation: str
    call: int
    more_rows_than: int
    at: str
    times: int
    seen: int = 0
    raised: int = 0


@dataclass
class Log:
    """Counts of one `pretended_cuda` block. A line is "file.py:12" of our own code, or "elsewhere"."""

    waits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(reason, line): times that the host waited for the device."""
    launches: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(operation, line): kernels launched; one per operation, one per replay of a graph."""
    bytes_up: int = 0
    """Bytes copied from the host to a GPU."""
    bytes_down: int = 0
    contexts: dict[int, str] = field(default_factory=dict)
    """GPUs on which a context was created, by number, with the line that created it."""
    refusals: list[Refusal] = field(default_factory=list)
    trace: list[tuple] | None = None
    """(operation, args, kwargs, result) of each launch; None: not kept."""

    @property
    def touched(self) -> set[int]:
        """Numbers of the GPUs on which a context was created."""
        return set(self.contexts)

    @property
    def num_waits(self) -> int:
        return sum(self.waits.values())

    @property
    def num_launches(self) -> int:
        return sum(self.launches.values())

    def launches_of(self, operation: str) -> int:
        """Launches of one operation, such as "convolution"."""
        return sum(count for (name, _), count in self.launches.items() if name == operation)

    def clear(self) -> None:
        """Set the counts to zero; refusals and contexts stay."""
        self.waits.clear()
        self.launches.clear()
        self.bytes_up = self.bytes_down = 0

    def refuse(
        self,
        kind: str | Callable[[], Exception],
        operation: str = "",
        *,
        call: int = 1,
        more_rows_than: int = -1,
        at: str = "",
        times: int = 1,
    ) -> Refusal:
        """Raise an error at a chosen operation.

        Args:
            kind: a key of `OUT_OF_MEMORY`, or a function that makes the error.
            operation: name of an ATen operation without overload ("convolution", "mm"), "pin_memory",
                "copy to the GPU" or "graph replay"; "": any operation.
            call: the first matching call that fails, counted from 1.
            more_rows_than: only calls on a larger batch match; a graph replay has no rows.
            at: only calls from a line whose name starts with this match ("inversion/loop.py").
            times: matching calls that fail, from ``call`` on.
        """
        error = OUT_OF_MEMORY[kind] if isinstance(kind, str) else kind
        refusal = Refusal(error, operation, call, more_rows_than, at, times)
        self.refusals.append(refusal)
        return refusal

    def check(self, operation: str, rows: int) -> None:
        """Raise what `refuse` ordered for this operation."""
        for refusal in self.refusals:
            if refusal.operation not in ("", operation) or rows <= refusal.more_rows_than:
                continue
            if refusal.at and not any(line.startswith(refusal.at) for line in lines()):
                continue
            refusal.seen += 1
            if refusal.seen >= refusal.call and refusal.raised < refusal.times:
                refusal.raised += 1
                raise refusal.error()

    def wait(self, reason: str) -> None:
        self.waits[reason, line()] += 1

    def launch(self, operation: str) -> None:
        self.launches[operation, line()] += 1


def line() -> str:
    """The innermost line of our code that is being run."""
    return next(lines(), "elsewhere")


def lines() -> Iterator[str]:
    """Lines of our code that are being run, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _our_file(frame.f_code.co_filename)
        if name is not None:
            yield f"{name}:{frame.f_lineno}"
        frame = frame.f_back


@cache
def _our_file(path: str) -> str | None:
    """The name of one of our files within its folder; None: the file is not ours."""
    for folder in _OUR_FOLDERS:
        if folder in path and "/tests/" not in path:
            return path.rpartition(folder)[2]
    return None
