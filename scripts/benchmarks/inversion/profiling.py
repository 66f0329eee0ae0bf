"""Profile of a run: time by operation and by named part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from scripts.benchmarks.inversion.engines import Engine
from scripts.benchmarks.inversion.step import FEW, timed

Row = dict[str, Any]

# An operation belongs to the first part with a word that its name contains, otherwise to "other".
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
    """The part of a step that an operation belongs to, found by its name."""
    name = operation.lower()
    return next((part for part, words in PARTS.items() if any(word in name for word in words)), "other")


def profiled(engine: Engine, directions: Tensor, steps: int, device: str) -> dict[str, Any]:
    """Seconds and shares of the steps alone, by part and for the 25 longest operations.

    A short run is subtracted from a long one to remove start and finish. On a GPU the seconds are kernel
    times, and `busy_share` is their share of wall time; it is a lower bound, because wall time includes the
    profiler's own work.
    """
    engine.make(directions, FEW)
    short, short_s = _operations(engine, directions, FEW, device)
    long, long_s = _operations(engine, directions, FEW + steps, device)
    rows = difference(long, short)
    wall_s = long_s - short_s
    return shares(rows) | {"wall_s": wall_s, "busy_share": sum(row["seconds"] for row in rows) / wall_s}


def _operations(engine: Engine, directions: Tensor, steps: int, device: str) -> tuple[list[Row], float]:
    """Rows of operation, calls and seconds of a whole run, and its wall time in seconds."""
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        wall_s, _ = timed(engine, directions, steps, device)
    rows = []
    for event in profiler.key_averages():
        # A kernel is listed both alone and under the operation that launched it; count it once.
        if event.device_type != DeviceType.CPU:
            continue
        microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        rows.append({"operation": event.key, "calls": event.count, "seconds": microseconds / 1e6})
    return rows, wall_s


def difference(long: Iterable[Row], short: Iterable[Row]) -> list[Row]:
    """Calls and seconds of the long run beyond those of the short run; negative seconds become 0."""
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
    """Share of the total time by part and by operation. rows: operation, calls, seconds."""
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
