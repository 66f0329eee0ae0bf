"""Bin synthetic activations onto four grids: time and peak memory, checked against a pandas group-by.

    python -m scripts.benchmarks.binning FOLDER                       # 1,000,000 x 512 float16
    python -m scripts.benchmarks.binning FOLDER --num-rows 100000 --num-classes 1000 --json report.json

The engine first writes the sample part by part (float16, as `atlas sample` does) and a layout of blobs. It
then runs `cell_sums` and `bin` in a separate process, whose peak memory is reported. Counts and means are
compared with a float64 group-by of pandas, a few columns at a time. FOLDER is removed at the end;
1,000,000 x 512 takes 1.5 GB.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from atlas_pipeline import engine
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Artefact, Job, Output, Runtime, Stage, Step, Store, Task, artefact_of
from atlas_pipeline.stages.atlas import bin, cell_sums
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.views.view import layer_view
from scripts.benchmarks.own_process import in_own_process, peak_gb

LAYER = "synthetic"
SHARD_ROWS = 16_384
COLUMNS_AT_ONCE = 64
GRID_SIZES = (20, 40, 80, 160)


@dataclass(frozen=True, slots=True)
class Case:
    """Size of the sample; with num_classes = 0 it has no attributions."""

    num_rows: int
    num_channels: int = 512
    num_classes: int = 0


def main() -> None:
    """Run the benchmark and print its results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="working folder; it must not exist yet")
    parser.add_argument("--num-rows", type=int, default=1_000_000)
    parser.add_argument("--num-channels", type=int, default=512)
    parser.add_argument("--num-classes", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    row = measure(options.num_rows, options.folder, options.num_channels, options.num_classes)
    # Imported late because it imports torch: a child process starts with the peak memory of its parent.
    from scripts.benchmarks.report import machine, print_table, write_json

    print_table(f"Binning onto grids of {', '.join(map(str, GRID_SIZES))}", [row])
    write_json(options.json, {"machine": machine("cpu"), "binning": row})


def measure(num_rows: int, folder: Path, num_channels: int = 512, num_classes: int = 0) -> dict[str, Any]:
    """Measure one case: seconds of the two stages, peak memory, and the largest difference from pandas.

    Raises:
        FileExistsError: ``folder`` exists.
        SystemExit: counts differ, or means differ by more than rounding.
    """
    case = Case(num_rows, num_channels, num_classes)
    folder.mkdir(parents=True)
    try:
        for function in (_write, _bin, _compare):
            result = in_own_process(function, folder.absolute(), case)
            if function is _bin:
                row = result
        return {**row, **result}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, case: Case) -> dict[str, Any]:
    sample, layout, *_ = _steps(case)
    engine.run([sample, layout], Store(folder))
    return {}


def _bin(folder: Path, case: Case) -> dict[str, Any]:
    store, steps = Store(folder), _steps(case)
    before = peak_gb()
    reports = engine.run(steps, store).steps
    seconds = {report.step.stage.name: report.seconds for report in reports}
    sums = [step for step in steps if step.stage.name == "cell_sums"]
    parts = [path for step in sums for path in artefact_of(step, store).folder.glob("*.parquet")]
    return {
        "rows": case.num_rows,
        "channels": case.num_channels,
        "classes": case.num_classes,
        "cell_sums s": seconds["cell_sums"],
        "bin s": seconds["bin"],
        "seconds": sum(seconds.values()),
        "rows/s": case.num_rows / sum(seconds.values()),
        "peak GB": peak_gb(),
        "GB before": before,
        "GB of sums": sum(path.stat().st_size for path in parts) / 1e9,
    }


def _compare(folder: Path, case: Case) -> dict[str, Any]:
    store = Store(folder)
    sample, layout, *others = _steps(case)
    xy = artefact_of(layout, store).read(["x", "y"])
    largest = 0.0
    for step in (step for step in others if step.stage.name == "bin"):
        cells = artefact_of(step, store)
        size = cells.config["size"]
        # Compute the orientation independently: row 0 holds the largest y.
        col = np.minimum((xy["x"].to_numpy().astype(np.float64) * size).astype(int), size - 1)
        row = size - 1 - np.minimum((xy["y"].to_numpy().astype(np.float64) * size).astype(int), size - 1)
        for means, ours in _means(cells, artefact_of(sample, store), row * size + col, case):
            difference = np.abs(means - ours) / np.abs(means).max(axis=0)
            largest = max(largest, float(difference.max()))
    if largest > 4 * np.finfo(np.float32).eps:
        raise SystemExit(f"a mean differs from pandas by {largest:.2g} of the largest mean in its column")
    return {"largest difference": largest}


def _means(
    cells: Artefact, sample: Artefact, flat: np.ndarray, case: Case
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield means by pandas and by us, (cell, column) float64, some columns at a time.

    Raises: SystemExit: cells or counts differ.
    """
    table = cells.read()
    counts = pd.Series(flat).groupby(flat).size()
    ours = table["row"].to_numpy().astype(int) * cells.config["size"] + table["col"].to_numpy()
    if not np.array_equal(counts[counts >= cells.config["min_count"]].index, ours) or not np.array_equal(
        counts[ours], table["count"]
    ):
        raise SystemExit(f"grid {cells.config['size']}: cells or counts differ from pandas")
    for name, width in (("activation", case.num_channels), ("attribution", case.num_classes)):
        for start in range(0, width, COLUMNS_AT_ONCE):
            some = slice(start, start + COLUMNS_AT_ONCE)
            blocks = [column_matrix(part, name)[:, some] for part in sample.parts([name])]
            frame = pd.DataFrame(np.concatenate(blocks, dtype=np.float64))
            means = frame.groupby(flat).mean().loc[ours].to_numpy()
            yield means, column_matrix(table, name)[:, some].astype(np.float64)


def _sampled(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    """Make the rows of one shard: non-negative activations, attributions of both signs."""
    case, start, stop = jobs[0].config, task["start"], task["stop"]
    rng = np.random.default_rng([start])
    activation = np.maximum(rng.standard_normal((stop - start, case["num_channels"]), np.float32), 0)
    columns = {
        "image_id": np.arange(start, stop),
        "row": np.ones(stop - start, np.int16),
        "col": np.ones(stop - start, np.int16),
        "activation": matrix_column(activation.astype(np.float16)),
    }
    if num_classes := case["num_classes"]:
        attribution = rng.standard_normal((stop - start, num_classes), np.float32) ** 3
        columns["attribution"] = matrix_column(attribution.astype(np.float16))
    return [Output(table=pa.table(columns), notes={"classes": None, "num_classes": num_classes})]


def _laid_out(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    """Make a layout of blobs, as real layouts have: some cells are crowded and others empty."""
    rng, num_rows = np.random.default_rng(1), task["stop"]
    xy = rng.random((60, 2))[rng.integers(0, 60, num_rows)] + rng.normal(0, 0.06, (num_rows, 2))
    xy = np.clip(xy, 0, 1).astype(np.float32)
    place = np.ones(num_rows, np.int16)
    columns = {"image_id": np.arange(num_rows), "row": place, "col": place, "x": xy[:, 0], "y": xy[:, 1]}
    return [Output(table=pa.table(columns))]


def _first_notes(job: Job, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return notes[0]


def _shards(job: Job) -> list[Task]:
    num_rows = job.config["num_rows"]
    return [{"start": s, "stop": min(s + SHARD_ROWS, num_rows)} for s in range(0, num_rows, SHARD_ROWS)]


def _size(task: Task) -> int:
    return task["stop"] - task["start"]


SAMPLE = Stage(
    name="sample",
    version=1,
    unit="rows",
    split=_shards,
    size=_size,
    compute=_sampled,
    summarise=_first_notes,
)
LAYOUT = Stage(
    name="project",
    version=1,
    unit="rows",
    split=lambda job: [{"start": 0, "stop": job.config["num_rows"]}],
    size=_size,
    compute=_laid_out,
)


def _steps(case: Case) -> list[Step]:
    config = parse_config(
        {
            "name": "binning",
            "model": {"source": "demo"},
            "images": {"source": "generated"},
            "layers": [LAYER],
            "sample": {"attribution": "all" if case.num_classes else "none"},
            "grid": {"sizes": GRID_SIZES, "min_count": 1},
        }
    )
    sizes = {
        "num_rows": case.num_rows,
        "num_channels": case.num_channels,
        "num_classes": case.num_classes,
    }
    sample = Step(stage=SAMPLE, config=sizes, layer=LAYER)
    layout = Step(stage=LAYOUT, config=sizes, inputs={"sample": sample}, layer=LAYER, view="all")
    view = layer_view(config)
    sums = cell_sums.steps(config, view, sample, None, layout)
    return [sample, layout, *sums.values(), *bin.steps(view, sample, None, layout, sums).values()]


if __name__ == "__main__":
    main()
