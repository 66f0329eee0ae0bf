"""Select every class from a million synthetic activations: time and memory, checked against pandas.

    python -m scripts.benchmarks.selection FOLDER                             # 1,000,000 rows x 1,000 classes
    python -m scripts.benchmarks.selection FOLDER --num-rows 100000 --filter rank --json report.json

The engine writes the shards (float16, as `atlas sample` does) and runs the stage `select` once for all
classes in a separate process, whose peak memory is reported. A small case is then compared with pandas.
FOLDER is removed at the end unless --keep is given; 1,000,000 x 1,000 takes 2 GB.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline import engine
from atlas_pipeline.config.views import ViewGridConfig
from atlas_pipeline.engine import Job, Output, Runtime, Stage, Step, Store, Task, artefact_of
from atlas_pipeline.stages.atlas.select import step as select_step
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.views.view import ClassPopulation, View, ViewLayout
from scripts.benchmarks.own_process import in_own_process, peak_gb

LAYER = "synthetic"


@dataclass(frozen=True, slots=True)
class Case:
    """Size of the sample and of its shards, and what is selected. kind: the filter."""

    num_rows: int
    num_classes: int
    shard_rows: int
    kind: str
    top: int


def main() -> None:
    """Write the shards, select, compare and print."""
    options = _options()
    folder = options.folder.absolute()
    if folder.exists():
        raise SystemExit(f"{folder} exists; give a new folder, because it is removed at the end")
    before = in_own_process(_machine)
    large = Case(options.num_rows, options.num_classes, options.shard_rows, options.filter, options.top)
    small = replace(large, num_rows=20_000, num_classes=50, shard_rows=8192)
    try:
        written = in_own_process(write, folder / "large", large)
        row = in_own_process(select, folder / "large", large)
        compared = in_own_process(compare, folder / "small", small)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    # Imported late because it imports torch: a child process starts with the peak memory of its parent.
    from scripts.benchmarks.report import print_table, write_json

    print_table("Machine", [before])
    print_table("All classes of the large case", [row])
    print_table("A small case compared with pandas", [compared])
    write_json(options.json, {"machine": before, "written": written, "large": row, "small": compared})


def write(folder: Path, case: Case) -> dict[str, Any]:
    """Write the shards; return their number, bytes and seconds."""
    started = time.monotonic()
    store, step = Store(folder), _sample(case)
    engine.run([step], store, reporter=engine.SilentReporter())
    files = list(artefact_of(step, store).folder.glob("*.parquet"))
    return {
        "shards": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "seconds": time.monotonic() - started,
    }


def select(folder: Path, case: Case) -> dict[str, Any]:
    """Run the stage once for all classes; return its time and the peak memory of the process."""
    store, steps = Store(folder), _selections(case)
    before = peak_gb()
    started = time.monotonic()
    report = engine.run(steps, store, only={"select"}, reporter=engine.SilentReporter())
    seconds = time.monotonic() - started
    assert report.tasks_run == 1, "one pass serves all classes"
    return {
        "rows": case.num_rows,
        "classes": case.num_classes,
        "filter": case.kind,
        "top": case.top,
        "seconds": seconds,
        "rows/s": case.num_rows / seconds,
        "peak GB": peak_gb(),
        "GB before": before,
        "selected": sum(artefact_of(step, store).num_rows for step in steps),
    }


def compare(folder: Path, case: Case) -> dict[str, Any]:
    """Select a case that fits in memory by the stage and by pandas.

    Raises: SystemExit: the selected sets differ.
    """
    write(folder, case)
    ours = select(folder, case)
    store = Store(folder)
    shards = sorted(artefact_of(_sample(case), store).folder.glob("*.parquet"))
    started = time.monotonic()
    theirs = by_pandas(shards, case.kind, case.top)
    seconds = time.monotonic() - started
    for step, rows in zip(_selections(case), theirs, strict=True):
        own = artefact_of(step, store).read(["sample_row"])["sample_row"].to_pylist()
        if own != rows:
            raise SystemExit(f"{step.view}: {len(own)} rows selected, {len(rows)} by pandas; the sets differ")
    return {
        **{key: ours[key] for key in ("rows", "classes", "filter", "top", "selected")},
        "seconds": ours["seconds"],
        "pandas, seconds": seconds,
        "sets": "equal",
    }


def by_pandas(shards: Sequence[Path], kind: str, top: int) -> list[list[int]]:
    """Rows selected for each class, ascending."""
    column = pd.concat([pq.read_table(shard).to_pandas() for shard in shards], ignore_index=True)
    frame = pd.DataFrame(np.stack(column["attribution"].to_numpy()).astype(np.float32))
    ranked = frame.idxmax(axis=1).where(frame.max(axis=1) > 0)
    rows = []
    for number in frame:
        own, chosen = frame[number], set()
        if kind != "magnitude":
            chosen |= {*frame.index[ranked == number]}
        if kind != "rank":
            chosen |= {*own[own > 0].nlargest(top, keep="first").index}
        rows.append(sorted(chosen))
    return rows


def _attributions(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    """Make the rows of one shard.

    Attributions have heavy tails; their scale varies between activations and between classes.
    """
    num_classes = jobs[0].config["num_classes"]
    rng = np.random.default_rng([task["start"]])
    values = rng.standard_normal((task["stop"] - task["start"], num_classes), np.float32) ** 3
    values *= rng.lognormal(-3, 1, (len(values), 1)).astype(np.float32)
    values *= np.random.default_rng(0).lognormal(0, 0.5, num_classes).astype(np.float32)
    table = pa.table(
        {
            "image_id": np.arange(task["start"], task["stop"]),
            "attribution": matrix_column(values.astype(np.float16)),
        }
    )
    return [Output(table=table, notes={"classes": list(range(num_classes))})]


SAMPLE = Stage(
    name="sample",
    version=1,
    unit="rows",
    split=lambda job: [
        {"start": start, "stop": min(start + job.config["shard_rows"], job.config["num_rows"])}
        for start in range(0, job.config["num_rows"], job.config["shard_rows"])
    ],
    size=lambda task: task["stop"] - task["start"],
    compute=_attributions,
    summarise=lambda job, notes: notes[0],
)


def _sample(case: Case) -> Step:
    config = {"num_rows": case.num_rows, "num_classes": case.num_classes, "shard_rows": case.shard_rows}
    return Step(stage=SAMPLE, config=config, layer=LAYER)


def _selections(case: Case) -> list[Step]:
    sample = _sample(case)
    views = [
        View(
            name=f"class-{i}",
            kind="class",
            title=f"class {i}",
            population=ClassPopulation(
                index=i, label=f"class {i}", filter=case.kind, sign="positive", top=case.top
            ),
            layers=(LAYER,),
            layout=ViewLayout(method="tsne", perplexity=30.0, num_neighbors=20, min_dist=0.02),
            grid=ViewGridConfig(),
        )
        for i in range(case.num_classes)
    ]
    return [step for view in views if (step := select_step(view, sample)) is not None]


def _machine() -> dict[str, Any]:
    from scripts.benchmarks.report import machine

    report = machine("cpu")
    # A plain string: unpickling torch's version type would import torch in the parent process.
    return {**report, "torch": str(report["torch"])}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder for the shards; it must not exist yet")
    parser.add_argument("--num-rows", type=int, default=1_000_000)
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--shard-rows", type=int, default=16_384)
    parser.add_argument("--filter", choices=("rank", "magnitude", "both"), default="both")
    parser.add_argument("--top", type=int, default=3000)
    parser.add_argument("--keep", action="store_true", help="keep the shards")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
