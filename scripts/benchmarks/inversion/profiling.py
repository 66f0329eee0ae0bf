"""Where the time of a run goes, operation by operation and in parts that have a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from scripts.benchmarks.inversion.engines import Engine
from scripts.benchmarks.inversion.step import FEW, timed

Row = dict[str, Any]

# The first part with a word that the operation's name holds; what has none is "other".
PARTS = {
    "convolutions": ("conv",),
    "transforms": ("grid_sampler", "affine_grid"),
    "Fourier": ("fft",),
    "pooling": ("pool",),
    "matrix products": ("mm", "matmul", "linear"),
    "ReLU": ("relu", "threshold", "clamp_min"),
    "concatenation, copies": ("::cat", "copy", "contiguous", "clone", "fill", "zero"),
}


def part_of(operation: str) -> str:
    """The part of a step that an operation belongs to, by its name."""
    name = operation.lower()
    return next((part for part, words in PARTS.items() if any(word in name for word in words)), "other")


def profiled(engine: Engine, directions: Tensor, steps: int, device: str) -> dict[str, Any]:
    """Seconds and shares of steps alone: by part, and of the 25 longest operations.

    Of a long run less a short one. On a GPU the seconds are the kernels', and `busy_share` is theirs of the
    wall clock's (the profiler's own work is in the wall clock too: a lower bound).
    """
    engine.make(directions, FEW)
    short, short_s = _operations(engine, directions, FEW, device)
    long, long_s = _operations(engine, directions, FEW + steps, device)
    rows = difference(long, short)
    wall_s = long_s - short_s
    return shares(rows) | {"wall_s": wall_s, "busy_share": sum(row["seconds"] for row in rows) / wall_s}


def _operations(engine: Engine, directions: Tensor, steps: int, device: str) -> tuple[list[Row], float]:
    """(operation, calls, seconds) of a whole run, and its seconds on the wall clock."""
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        wall_s, _ = timed(engine, directions, steps, device)
    rows = []
    for event in profiler.key_averages():
        # A kernel is listed by itself and under the operation that launched it.
        if event.device_type != DeviceType.CPU:
            continue
        microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        rows.append({"operation": event.key, "calls": event.count, "seconds": microseconds / 1e6})
    return rows, wall_s


def difference(long: Iterable[Row], short: Iterable[Row]) -> list[Row]:
    """What the long run has more of; an operation that varies by more than that counts as nothing."""
    before = {row["operation"]: row for row in short}
    nothing = {"calls": 0, "seconds": 0.0}
    return [
        {
            "operation": row["operation"],
            "calls": row["calls"] - before.get(row["operation"], nothing)["calls"],
            "seconds": max(0.0, row["seconds"] - before.get(row["operation"], nothing)["seconds"]),
        }
        for row in long
    ]


def shares(rows: Iterable[Row], num_rows: int = 25) -> dict[str, Any]:
    """Shares of all seconds. rows: operation, calls, seconds."""
    rows = sorted(rows, key=lambda row: -row["seconds"])
    total_s = sum(row["seconds"] for row in rows) or 1.0
    parts: dict[str, float] = {}
    for row in rows:
        part = part_of(row["operation"])
        parts[part] = parts.get(part, 0.0) + row["seconds"] / total_s
    ordered = sorted(parts.items(), key=lambda item: -item[1])
    return {
        "parts": [{"part": part, "share": share} for part, share in ordered],
        "operations": [row | {"share": row["seconds"] / total_s} for row in rows[:num_rows]],
    }
