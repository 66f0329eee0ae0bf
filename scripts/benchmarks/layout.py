"""Layouts end to end: time by part, memory and quality, compared with plain umap-learn.

    uv run python -m scripts.benchmarks.layout --rows 100000 --engines umap-learn-fit cpu parallel
    uv run python -m scripts.benchmarks.layout --rows 1000000 --engines parallel
    uv run python -m scripts.benchmarks.layout --rows 1000000 --engines gpu --profile
    uv run python -m scripts.benchmarks.layout --engines cpu parallel gpu --device cpu --activations rows.npy

Activations are generated: non-negative clusters of six dimensions each, float16 as in a sample; or they are
those of a file. Every case runs in a separate process, so that its peak memory can be measured.
`umap-learn-fit` is
`umap.UMAP(n_neighbors=20, min_dist=0.01, metric="cosine").fit_transform`, unseeded, on all threads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarks.own_process import peak_gb

NUM_CLUSTERS, NUM_FREE, ROWS_AT_ONCE = 60, 6, 16_384
FIGURES = (
    "neighbor_recall",
    "trustworthiness",
    "rank_correlation",
    "seed_agreement",
    "seed_rank_correlation",
)


@dataclass(frozen=True)
class StoredRows:
    """Float16 activations in a binary file, read in blocks of (activation, channel)."""

    path: Path
    num_rows: int
    num_channels: int

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self.num_rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, self.num_rows - start)
            flat = np.fromfile(
                self.path, np.float16, count * self.num_channels, offset=start * self.num_channels * 2
            )
            yield flat.reshape(count, self.num_channels)


def write_rows(path: Path, num_rows: int, num_channels: int) -> StoredRows:
    """Write clustered, non-negative activations; they depend only on the two numbers."""
    rng = np.random.default_rng(0)
    centres = np.maximum(rng.normal(size=(NUM_CLUSTERS, num_channels)), 0).astype(np.float32)
    free = rng.normal(size=(NUM_CLUSTERS, NUM_FREE, num_channels)).astype(np.float32) / 4
    with path.open("wb") as file:
        for start in range(0, num_rows, ROWS_AT_ONCE):
            cluster = rng.integers(NUM_CLUSTERS, size=min(ROWS_AT_ONCE, num_rows - start))
            rows = centres[cluster] + 0.15 * rng.standard_normal((len(cluster), num_channels), np.float32)
            along = rng.standard_normal((len(cluster), NUM_FREE), np.float32)
            for c in range(NUM_CLUSTERS):
                rows[cluster == c] += along[cluster == c] @ free[c]
            np.maximum(rows, 0).astype(np.float16).tofile(file)
    return StoredRows(path, num_rows, num_channels)


class Clock:
    """Wall and CPU seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    def timed(self, part: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        self.seconds[part] = (
            round(time.perf_counter() - wall, 1),
            round(time.process_time() - cpu, 1),
        )
        return result


def lay_out(rows: StoredRows, engine: str, method: Any, device: str, clock: Clock) -> list[np.ndarray]:
    """Layouts of two seeds by one of our engines."""
    from atlas_pipeline.layout.distinct import read_vectors
    from atlas_pipeline.layout.neighbors import neighbors
    from atlas_pipeline.layout.umap_layout import (
        UmapSettings,
        fuzzy_graph,
        optimise_graph,
        spread_start,
        tensor_layouts,
    )

    settings = UmapSettings(num_neighbors=20, min_dist=0.01, engine=engine, device=device)  # type: ignore[arg-type]
    near = clock.timed("neighbors", lambda: neighbors(rows, rows.num_rows, 20, method=method, device=device))
    start = clock.timed(
        "start",
        lambda: spread_start([read_vectors(rows, near.same.rows, "cosine")], 2, "cosine", device),
    )
    if engine == "gpu":
        layouts = clock.timed(
            "graph, both seeds", lambda: tensor_layouts(near.fitted(), 20, start, settings, (0, 1))
        )
    else:
        graph = clock.timed("graph", lambda: fuzzy_graph(near.fitted(), 20))
        layouts = [
            clock.timed("optimise", lambda: optimise_graph(graph, start, settings, 0)),
            clock.timed("second seed", lambda: optimise_graph(graph, start, settings, 1)),
        ]
    return [layout[near.same.vertex] for layout in layouts]


def fit_umap_learn(rows: StoredRows, clock: Clock) -> list[np.ndarray]:
    """Two layouts by plain umap-learn, which differ because it is unseeded."""
    import umap

    matrix = np.concatenate(list(rows)).astype(np.float32)

    def fit() -> np.ndarray:
        return umap.UMAP(n_neighbors=20, min_dist=0.01, metric="cosine").fit_transform(matrix)

    return [clock.timed("fit_transform", fit), clock.timed("second seed", fit)]


def case(rows: StoredRows, engine: str, method: str, profile: bool, device: str) -> dict[str, Any]:
    """Run one engine on these rows: seconds, peak memory and quality figures."""
    from atlas_pipeline.layout.layout_result import quality_on
    from atlas_pipeline.numerics.quality import seed_agreement

    clock = Clock()
    if engine == "umap-learn-fit":
        layouts = fit_umap_learn(rows, clock)
    elif profile:
        from torch.profiler import profile as profiled

        with profiled() as profiler:
            layouts = lay_out(rows, engine, method, device, clock)
        print(profiler.key_averages().table(sort_by="self_device_time_total", row_limit=15), file=sys.stderr)
    else:
        layouts = lay_out(rows, engine, method, device, clock)
    # Timed apart from the layout: every engine shares this cost.
    measured = clock.timed("figures", lambda: quality_on(device, rows, layouts[0], 0, "cosine"))
    measured |= seed_agreement(*layouts, seed=0)
    return {
        "rows": rows.num_rows,
        "engine": engine,
        "seconds": clock.seconds,
        "peak_mb": round(1000 * peak_gb()),
        **{key: round(measured[key], 4) for key in FIGURES},
    }


def measure(
    num_rows: int,
    engines: Sequence[str],
    num_channels: int = 512,
    method: str = "auto",
    profile: bool = False,
    device: str | None = None,
    activations: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Run the engines on the same rows, each in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.f16"
        if activations is None:
            stored = write_rows(path, num_rows, num_channels)
        else:
            matrix = np.load(activations)
            matrix.astype(np.float16).tofile(path)
            stored = StoredRows(path, *matrix.shape)
        for engine in engines:
            command = [sys.executable, "-m", "scripts.benchmarks.layout", "--file", str(stored.path)]
            command += ["--rows", str(stored.num_rows), "--channels", str(stored.num_channels)]
            command += ["--engines", engine, "--neighbors", method]
            command += ["--device", device or ("cuda" if engine == "gpu" else "cpu")]
            command += ["--profile"] if profile else []
            line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            yield json.loads(line.splitlines()[-1])


def table(cases: list[dict[str, Any]]) -> str:
    """Markdown table with one row per case; seconds as wall / CPU."""
    lines = [
        "| rows | engine | seconds by part (wall / CPU) | peak MB | " + " | ".join(FIGURES) + " |",
        "|---" * (4 + len(FIGURES)) + "|",
    ]
    for one in cases:
        seconds = ", ".join(f"{part} {wall} / {cpu}" for part, (wall, cpu) in one["seconds"].items())
        figures = " | ".join(str(one[key]) for key in FIGURES)
        lines.append(f"| {one['rows']:,} | {one['engine']} | {seconds} | {one['peak_mb']} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[5000])
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument(
        "--engines", nargs="+", default=["parallel"], choices=["umap-learn-fit", "cpu", "parallel", "gpu"]
    )
    parser.add_argument("--neighbors", default="auto", choices=["auto", "exact", "approximate"])
    parser.add_argument("--device", help="default: cuda for the engine gpu, cpu for the others")
    parser.add_argument("--activations", type=Path, help="a .npy file of (activation, channel)")
    parser.add_argument("--profile", action="store_true", help="print a torch profile of each case to stderr")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)  # rows of a case in its own process
    options = parser.parse_args()
    if options.file:
        rows = StoredRows(options.file, options.rows[0], options.channels)
        print(json.dumps(case(rows, options.engines[0], options.neighbors, options.profile, options.device)))
        return
    cases = []
    for num_rows in options.rows:
        for one in measure(
            num_rows,
            options.engines,
            options.channels,
            options.neighbors,
            options.profile,
            options.device,
            options.activations,
        ):
            cases.append(one)
            print(table([one]), flush=True)
    print(table(cases))


if __name__ == "__main__":
    main()
