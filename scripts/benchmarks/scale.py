"""Scaling of every stage with the number of images: rates, seconds, memory, and their growth.

    python -m scripts.benchmarks.scale FOLDER                    # 10,000, 100,000 and 1,000,000: two hours
    python -m scripts.benchmarks.scale FOLDER --sizes 10000 100000 --parts binning layout --json report.json

Reading and sampling use small generated images; layout and binning use synthetic activations with 512
channels. These are the cases of the benchmarks `reading`, `sampling`, `layout` and `binning`. The images of
sampling stay in FOLDER; everything else in it is removed.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.benchmarks import binning, layout, reading, sampling

Row = dict[str, Any]


def main() -> None:
    """Run the benchmark and print its results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    rows: list[Row] = []
    for part in options.parts:
        for size in options.sizes:
            rows += PARTS[part](size, options.folder / part)
    from scripts.benchmarks.report import machine, print_table, write_json

    print_table(f"By number, on {_num_cores()} cores", with_growth(rows))
    write_json(options.json, {"machine": machine("cpu"), "scale": rows})


def row(stage: str, number: int, seconds: float, peak_gb: float | None = None) -> Row:
    """One row of the table. number: of images or rows; peak_gb: None if other work shares the process."""
    return {
        "stage": stage,
        "number": number,
        "seconds": seconds,
        "a second": number / seconds,
        "a second and core": number / seconds / _num_cores(),
        "peak GB": peak_gb,
    }


def with_growth(rows: Sequence[Row]) -> list[Row]:
    """Add the exponent with which seconds grow since the previous row of the stage; 1 is linear."""
    before: dict[str, Row] = {}
    found = []
    for one in rows:
        last = before.get(one["stage"])
        growth = None
        if last is not None and last["number"] != one["number"]:
            growth = math.log(one["seconds"] / last["seconds"]) / math.log(one["number"] / last["number"])
        found.append({**one, "grows by the power": growth})
        before[one["stage"]] = one
    return found


def _reading(number: int, folder: Path) -> Iterator[Row]:
    for one in reading.index_rows(folder / str(number), number):
        yield row(f"index, {one['source']}", number, one["list s"])
        yield row(f"index again, {one['source']}", number, one["re-check s"])
    shutil.rmtree(folder, ignore_errors=True)


def _sampling(number: int, folder: Path) -> Iterator[Row]:
    found = sampling.measure(number, folder)
    yield row("decode alone, 32 px", number, found["decoding alone s"])
    yield row("network alone, three layers", number, found["network alone s"])
    yield row("sample, three layers", number, found["sample s"], found["peak GB"])


def _layout(number: int, folder: Path) -> Iterator[Row]:
    for one in layout.measure(number, ["parallel"]):
        seconds = {part: wall for part, (wall, _) in one["seconds"].items()}
        for part in ("neighbors", "optimise", "figures"):
            yield row(f"project: {part}", number, max(seconds[part], 0.1))
        whole = sum(seconds[part] for part in ("neighbors", "start", "graph", "optimise"))
        yield row("project, one layout", number, whole, one["peak_mb"] / 1000)


def _binning(number: int, folder: Path) -> Iterator[Row]:
    found = binning.measure(number, folder / str(number))
    yield row("bin, four grids", number, found["seconds"], found["peak GB"])


PARTS: dict[str, Callable[[int, Path], Iterator[Row]]] = {
    "reading": _reading,
    "sampling": _sampling,
    "layout": _layout,
    "binning": _binning,
}


def _num_cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
