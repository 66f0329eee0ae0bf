"""Fidelity over time: every engine makes icons of the same directions with several numbers of steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from torch import Tensor, nn

from atlas_pipeline.numerics import fidelity, legibility
from scripts.benchmarks.inversion.cases import Case, finished_activations
from scripts.benchmarks.inversion.engines import Engine
from scripts.benchmarks.inversion.step import FEW, timed

Row = dict[str, Any]


def race(
    case: Case,
    engines: Sequence[Engine],
    steps_of: Mapping[str, Sequence[int]],
    device: str,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[Row], dict[tuple[str, int], Tensor]]:
    """Run every engine with each number of steps, starting afresh each time.

    Shorter runs come first, and the engines take turns.

    Args:    steps_of: numbers of steps by engine name. clock: the seconds to count; wall time.
    Returns: one row per engine and number of steps; icons (N, S, S, 3) uint8 by (engine, steps).
    """
    runs = sorted(((e, n) for e in engines for n in steps_of[e.name]), key=lambda run: run[1])
    seconds: dict[tuple[str, int], list[float]] = {(e.name, n): [] for e, n in runs}
    icons: dict[tuple[str, int], Tensor] = {}
    for engine in engines:
        engine.make(case.directions, FEW)
    for _ in range(repeats):
        for engine, steps in runs:
            taken, icons[engine.name, steps] = timed(engine, case.directions, steps, device, clock)
            seconds[engine.name, steps].append(taken)
    feature_map = case.cut()
    rows = [
        {"engine": name, "steps": steps, "seconds": median(seconds[name, steps])}
        | quality(case, feature_map, icons[name, steps], device)
        | {"raw_s": seconds[name, steps]}
        for name in (engine.name for engine in engines)
        for steps in steps_of[name]
    ]
    return rows, icons


def quality(case: Case, feature_map: nn.Module, images: Tensor, device: str) -> Row:
    """Fidelity, round trip and legibility of finished icons (N, S, S, 3) uint8."""
    activations = finished_activations(feature_map, images, device).numpy()
    directions, pixels = case.directions.numpy(), images.numpy()
    cosines = fidelity.fidelity(activations, directions)
    ranks = fidelity.round_trip(activations, directions)
    return {
        "fidelity": float(np.median(cosines)),
        "fidelity_p5": float(np.percentile(cosines, 5)),
        "own_nearest": float((ranks < 1).mean()),
        "own_in_5": float((ranks < 5).mean()),
        **legible(pixels, case.crops.numpy()),
        "raw_fidelity": cosines.tolist(),
    }


def legible(pixels: np.ndarray, crops: np.ndarray) -> Row:
    """Saturated share of icons (N, S, S, 3) uint8, and their distances from real crops."""
    real = legibility.real_statistics(crops)
    return {
        "saturated": float(legibility.saturated_share(pixels).mean()),
        "spectrum_distance": float(np.median(legibility.spectrum_distance(pixels, real))),
        "colour_distance": float(np.median(legibility.colour_distance(pixels, real))),
        "speckle": float(np.median(legibility.speckle(pixels, real))),
    }


def seconds_to(curve: Iterable[tuple[float, float]], goal: float) -> float | None:
    """Seconds of the shortest run that reaches the goal, without interpolation; None if no run does.

    Args: curve: (seconds, fidelity) of each run. goal: fidelity.
    """
    reaching = [seconds for seconds, reached in curve if reached >= goal]
    return min(reaching, default=None)


def time_to_end(rows: Sequence[Row], ours: str) -> list[Row]:
    """Time that each peer and our engine need to reach the final fidelity of the peer's longest run.

    `end_over_ours` compares the peer's longest run with ours. `earliest_over_ours` compares its shortest run
    of at least that fidelity, because a peer may peak before its longest run.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    last: dict[str, Row] = {}
    for row in rows:
        curves.setdefault(row["engine"], []).append((row["seconds"], row["fidelity"]))
        if row["steps"] >= last.get(row["engine"], row)["steps"]:
            last[row["engine"]] = row
    table = []
    for name, end in last.items():
        if name.partition("-")[0] == "ours":
            continue
        our_s = seconds_to(curves[ours], end["fidelity"])
        earliest_s = seconds_to(curves[name], end["fidelity"])
        table.append(
            {
                "engine": ours,
                "peer": name,
                "steps": end["steps"],
                "ends_at": end["fidelity"],
                "end_s": end["seconds"],
                "earliest_s": earliest_s,
                "ours_s": our_s,
                "end_over_ours": None if our_s is None else end["seconds"] / our_s,
                "earliest_over_ours": None if our_s is None else earliest_s / our_s,
            }
        )
    return table
