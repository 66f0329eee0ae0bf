"""Stitch a large synthetic atlas: time, memory and bytes of picture, viewer tiles, Deep Zoom, publishing.

    python -m scripts.benchmarks.stitch FOLDER                      # 320 x 320 icons of 96 px, 1,000 classes
    python -m scripts.benchmarks.stitch FOLDER --grid 160 --icon-px 80 --json report.json
    python -m scripts.benchmarks.stitch FOLDER --format png --keep  # keeps the folder of the run

Every cell of the grid has an icon, one of 4,096 images with the spectrum of real icons. `stitch`, `tiles`,
`deep_zoom` and publishing each run in a separate process, whose peak memory is reported. FOLDER takes about
8 GB, or 20 GB with PNG tiles, and is removed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from atlas_pipeline import engine
from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Runtime, Store, artefact_of
from atlas_pipeline.publish.publication import publish
from scripts.benchmarks.own_process import in_own_process, peak_gb
from scripts.benchmarks.stitch_cases import Case, config_of, steps_of


def main() -> None:
    """Run the benchmark and print its results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="working folder; it must not exist yet")
    parser.add_argument("--grid", type=int, default=320)
    parser.add_argument("--icon-px", type=int, default=96)
    parser.add_argument("--num-classes", type=int, default=1000)
    parser.add_argument("--format", choices=["jpg", "png", "webp"], default="jpg")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    case = Case(options.grid, options.icon_px, options.num_classes, options.format, options.threads)
    rows = measure(options.folder, case, keep=options.keep)
    # Imported late because it imports torch: a child process starts with the peak memory of its parent.
    from scripts.benchmarks.report import machine, print_table, write_json

    print_table(f"{case.grid} x {case.grid} icons of {case.icon_px} px", rows)
    write_json(options.json, {"machine": machine("cpu"), "case": asdict(case), "stitching": rows})


def measure(folder: Path, case: Case, *, keep: bool = False) -> list[dict[str, Any]]:
    """Run each step; return its seconds, peak memory and bytes written, one row per step.

    Raises: FileExistsError: ``folder`` exists.
    """
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("".join(f"class {n}\n" for n in range(case.num_classes)))
    try:
        in_own_process(_run, folder, case, ["index", "project", "bin", "invert"])
        rows = [in_own_process(_run, folder, case, [name]) for name in ("stitch", "tiles", "deep_zoom")]
        return [*rows, *(in_own_process(_publish, folder, case, what) for what in ("publish", "again"))]
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, case: Case, names: Sequence[str]) -> dict[str, Any]:
    store, steps = Store(folder), [step for step in steps_of(folder, case) if step.stage.name in names]
    before, before_s, started = peak_gb(), time.process_time(), time.perf_counter()
    engine.run(steps, store, runtime=Runtime(workers=case.num_threads))
    return {
        "what": ", ".join(names),
        "seconds": time.perf_counter() - started,
        "CPU s": time.process_time() - before_s,
        "peak GB": peak_gb(),
        "GB before": before,
        "GB written": sum(part.bytes for step in steps for part in artefact_of(step, store).manifest.parts)
        / 1e9,
        "files": len(set(artefact_of(steps[-1], store).read(["file"])["file"].to_pylist()))
        if "invert" not in names
        else None,
    }


def _publish(folder: Path, case: Case, what: str) -> dict[str, Any]:
    store, config = Store(folder), parse_config(config_of(folder, case))
    before, before_s, started = peak_gb(), time.process_time(), time.perf_counter()
    publish(config, steps_of(folder, case), store)
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - before_s
    files = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    return {
        "what": what,
        "seconds": seconds,
        "CPU s": cpu_s,
        "peak GB": peak_gb(),
        "GB before": before,
        "GB written": sum(path.stat().st_size for path in files) / 1e9,
        "files": len(files),
    }


if __name__ == "__main__":
    main()
