"""Time of one icon-step for every engine, with the same network, directions and size."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from scripts.benchmarks.inversion.engines import Engine

FEW = 2


def step_rows(
    engines: Sequence[Engine], directions: Tensor, device: str, steps: int, repeats: int
) -> list[dict[str, Any]]:
    """Time an icon-step: one row per engine. Engines take turns, so that other load affects all of them.

    Args: directions: (B, K), made in one batch. steps: number of steps timed in each repeat.
    """
    seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for engine in engines:
        engine.make(directions, FEW)
    for _ in range(repeats):
        for engine in engines:
            seconds[engine.name].append(icon_step_seconds(engine, directions, steps, device))
    ours = median(seconds[engines[0].name])
    return [_row(engine.name, len(directions), seconds[engine.name], ours) for engine in engines]


def _row(name: str, batch: int, seconds: list[float], ours: float) -> dict[str, Any]:
    middle = median(seconds)
    return {
        "engine": name,
        "batch": batch,
        "ms_per_icon_step": 1e3 * middle,
        "least_ms": 1e3 * min(seconds),
        "icons_per_s_at_512": 1 / (512 * middle),
        "ours_over_this": ours / middle,
        "raw_s": seconds,
    }


def icon_step_seconds(engine: Engine, directions: Tensor, steps: int, device: str) -> float:
    """Seconds of an icon-step, from a long run minus a short one, which cancels start and finish."""
    long, short = (timed(engine, directions, FEW + more, device)[0] for more in (steps, 0))
    return (long - short) / (steps * len(directions))


def timed(
    engine: Engine,
    directions: Tensor,
    steps: int,
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, Tensor]:
    """Seconds from directions to finished 8-bit icons, and the icons. clock: its seconds; wall time."""
    synchronise(device)
    started = clock()
    icons = engine.make(directions, steps)
    synchronise(device)
    return clock() - started, icons


def synchronise(device: str) -> None:
    """Wait until the device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
