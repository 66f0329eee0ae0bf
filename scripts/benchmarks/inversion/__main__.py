"""Benchmark our inversion engine against lucent and Captum's optim branch on the same network.

    python -m scripts.benchmarks.inversion step                          # time of an icon-step, GoogLeNet
    python -m scripts.benchmarks.inversion race configs/quickstart.yaml  # fidelity over time
    python -m scripts.benchmarks.inversion roofline                      # against the limits of the device

The engines take turns within one process. A peer that cannot be imported is skipped with a message: put
lucent on PYTHONPATH, and pass the root of a checkout of Captum's optim branch as --captum. `step` and
`roofline` need only torch and torchvision.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from atlas_pipeline.models import ModelSpec
from scripts.benchmarks.inversion.cases import Case, case_of, read_case, timing_case, write_case
from scripts.benchmarks.inversion.engines import Engine, open_engines
from scripts.benchmarks.inversion.options import numbers, parse
from scripts.benchmarks.inversion.step import FEW, icon_step_seconds, step_rows
from scripts.benchmarks.report import machine, print_table, write_json


def main() -> None:
    """Run the chosen benchmark."""
    options = parse(__doc__)
    if options.threads:
        torch.set_num_threads(options.threads)
    bench = {"step": bench_step, "race": bench_race, "roofline": bench_roofline}[options.bench]
    before = machine(options.device)
    print_table("Machine", [before])
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    write_json(options.json, {"machine": before, "options": plain} | bench(options))


def bench_step(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the milliseconds of an icon-step for each batch size."""
    batches = numbers(options.batches)
    case = _timing_case(options, max(batches), options.device)
    engines, missing = _engines(options, case)
    rows = []
    for batch in batches:
        directions = case.directions[:batch]
        rows += step_rows(engines, directions, options.device, options.steps, options.repeats)
    print_table(_title(case), rows)
    return {"rows": rows, "missing": missing}


def bench_race(options: argparse.Namespace) -> dict[str, Any]:
    """Measure fidelity, round trip and legibility over time, and the time to each peer's final fidelity."""
    from scripts.benchmarks.inversion.race import legible, race, time_to_end

    case = _race_case(options)
    engines, missing = _engines(options, case)
    own, peers = numbers(options.own_steps), numbers(options.peer_steps)
    steps_of = {engine.name: own if engine.name.startswith("ours") else peers for engine in engines}
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    rows, icons = race(case, engines, steps_of, options.device, options.repeats, clock)
    ours = [engine.name for engine in engines if engine.name.startswith("ours")]
    ends = [row for name in ours for row in time_to_end(rows, name)]
    crops = case.crops.numpy()
    real = legible(crops, crops)
    print_table(f"{_title(case)}, {len(case.directions)} directions", rows)
    print_table("Real crops, same measures", [real])
    print_table("Time to a peer's final fidelity", ends)
    if options.sheet:
        _write_sheet(options, icons, steps_of)
    return {
        "case": _title(case),
        "settings": _settings(case),
        "rows": rows,
        "real": real,
        "time_to_end": ends,
        "missing": missing,
    }


def bench_roofline(options: argparse.Namespace) -> dict[str, Any]:
    """Measure icons per second, the share of the ceiling and a profile, by arithmetic and batch size."""
    from scripts.benchmarks.inversion.profiling import profiled
    from scripts.benchmarks.inversion.roofline import account, ceilings, icon_step_operations

    device, batches = options.device, numbers(options.batches)
    rates = ceilings(device, options.matrix or (8192 if device.startswith("cuda") else 2048))
    print_table("Ceilings, T/s", [{name: rate / 1e12 for name, rate in rates.items()}])
    case, counted = (_timing_case(options, max(batches), place) for place in (device, "cpu"))
    rows, profiles = [], []
    for arithmetic in options.arithmetics.split(","):
        settings = replace(case.settings, arithmetic=arithmetic)
        operations = icon_step_operations(replace(counted, settings=settings))
        (engine,), _ = open_engines(["ours"], replace(case, settings=settings), device, None)
        for batch in batches:
            directions = case.directions[:batch]
            engine.make(directions, FEW)
            seconds = [
                icon_step_seconds(engine, directions, options.steps, device) for _ in range(options.repeats)
            ]
            row = {"arithmetic": arithmetic, "batch": batch}
            row |= account(operations, rates, arithmetic, median(seconds))
            profile = profiled(engine, directions, options.profile_steps, device)
            rows.append(row | {"busy_share": profile["busy_share"], "raw_s": seconds})
            profiles.append({"arithmetic": arithmetic, "batch": batch} | profile)
    print_table(_title(case), rows)
    for profile in profiles:
        print_table(
            f"Where the time goes: {profile['arithmetic']}, batch {profile['batch']}", profile["parts"]
        )
    print_table("Longest operations of the last profile", profiles[-1]["operations"])
    return {"ceilings": rates, "rows": rows, "profiles": profiles}


def _engines(options: argparse.Namespace, case: Case) -> tuple[list[Engine], list[str]]:
    names = options.engines.split(",")
    if not names[0].startswith("ours"):
        raise SystemExit(
            f"--engines {options.engines}: the first must be ours, because the others are compared with it"
        )
    bank = getattr(options, "bank", None)
    engines, missing = open_engines(names, case, options.device, options.captum, bank)
    print(*missing, sep="\n", end="\n" if missing else "")
    return engines, missing


def _timing_case(options: argparse.Namespace, num: int, device: str) -> Case:
    weights = None if options.weights == "own" else options.weights
    spec = ModelSpec(source=options.source, name=options.name, weights=weights)
    return timing_case(spec, options.layer, options.size_px, num, device)


def _race_case(options: argparse.Namespace) -> Case:
    if (options.config is None) == (options.case is None):
        raise SystemExit("race needs either CONFIG or --case FILE, not both")
    if options.case:
        return read_case(options.case, options.device)
    from atlas_pipeline.config.loading import load_config

    config = load_config(options.config, options.overrides)
    layer = options.layer or config.layers[-1]
    case = case_of(config, layer, options.num_images, options.num_directions, options.device)
    if options.save_case:
        write_case(case, options.save_case)
    return case


def _write_sheet(options: argparse.Namespace, icons: dict, steps_of: dict[str, list[int]]) -> None:
    from scripts.benchmarks.inversion.sheet import write_sheet

    wanted = {name: options.sheet_steps or max(steps) for name, steps in steps_of.items()}
    rows = [
        (f"{name}, {steps} steps", icons[name, steps].numpy())
        for name, steps in wanted.items()
        if (name, steps) in icons
    ]
    write_sheet(rows, options.sheet_columns, options.sheet)
    print(f"{options.sheet}: {'; '.join(caption for caption, _ in rows)}")


def _settings(case: Case) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(case.settings)


def _title(case: Case) -> str:
    network = case.network
    return f"{network.name} ({network.weights_note}), {case.layer}, {case.settings.size_px} px"


if __name__ == "__main__":
    main()
