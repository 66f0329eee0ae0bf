"""Scaling of sampling and inversion with the number of workers, checked against a serial run.

    python -m scripts.benchmarks.cluster FOLDER                           # serial, then 1 and 2 workers
    python -m scripts.benchmarks.cluster FOLDER --workers 4 --kill-every 3 --set invert.steps=16

Every worker has one thread (OMP_NUM_THREADS=1, which `--local-cluster` respects). Each number of workers has
its own workspace in FOLDER, which is removed at the end. Starting the workers and opening the network in each
are timed separately from the stages. Artefacts are compared with those of a serial run with one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_pipeline import engine
from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Executor, InlineExecutor, Runtime, Step, Store
from atlas_pipeline.runs.pipeline_file import steps_of

# The stages that these need run first, untimed.
TIMED = ("sample", "invert")
CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a run. open_s: starting workers and opening the network; stage_s: by timed stage."""

    num_workers: int
    open_s: float
    stage_s: dict[str, float]


def main() -> None:
    """Run the benchmark, compare artefacts and print."""
    # Set before torch loads, which reads them once. Numba's OpenMP layer sets threads for torch too.
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    options = _options()
    if options.kill_every:
        # Dask would otherwise give up on a task whose workers we killed several times.
        os.environ["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "1000"
    if options.folder.exists():
        raise SystemExit(f"{options.folder} exists; give a new folder, because it is removed at the end")
    config = small_config(options.config, options.num_images, options.grid, options.set)
    try:
        serial = timed_serial(config, options.folder / "serial")
        print(f"serial: {_summary(serial)}", flush=True)
        timings = []
        for count in options.workers:
            workspace = options.folder / f"workers-{count}"
            timings.append(timed_cluster(config, workspace, count, options.kill_every))
            difference = largest_difference(config, options.folder / "serial", workspace)
            ratios = ", ".join(
                f"{stage} x {timings[0].stage_s[stage] / timings[-1].stage_s[stage]:.2f}" for stage in TIMED
            )
            print(f"{_summary(timings[-1])}; against the first: {ratios}; {difference}", flush=True)
    finally:
        shutil.rmtree(options.folder, ignore_errors=True)


def small_config(path: Path, num_images: int, grid: int, more: Sequence[str]) -> Config:
    """Config of one layer and one grid, with enough tasks that no worker waits long for the last one."""
    overrides = [f"images.num_images={num_images}", f"sample.shard_size={max(1, num_images // 32)}"]
    overrides += [f"grid.sizes=[{grid}]", "grid.min_count=1", "project.num_epochs=50"]
    layer = load_config(path, []).layers[-1]
    return load_config(path, [*overrides, f"layers=[{layer}]", "run.device=cpu", *more])


def timed_serial(config: Config, workspace: Path) -> Timing:
    """Time the stages in this process."""
    opened = time.perf_counter()
    open_network(config)
    open_s = time.perf_counter() - opened
    return Timing(0, open_s, _timed_stages(config, workspace, InlineExecutor()))


def timed_cluster(config: Config, workspace: Path, num_workers: int, kill_every_s: float | None) -> Timing:
    """Time the stages on local workers; kill one every `kill_every_s` seconds, if given."""
    from atlas_pipeline.engine.cluster import local_cluster
    from atlas_pipeline.engine.lanes import cpu_lanes

    with local_cluster(cpu_lanes(num_workers)) as executor:
        opened = time.perf_counter()
        executor.client.wait_for_workers(num_workers)
        executor.client.run(open_network, config)
        open_s = time.perf_counter() - opened
        with _killing(executor.client, kill_every_s):
            return Timing(num_workers, open_s, _timed_stages(config, workspace, executor))


def open_network(config: Config) -> None:
    """Do the one-off work of a process: open the network, and load what torch needs for gradients."""
    from atlas_pipeline.config.run_settings import model_spec
    from atlas_pipeline.models.network_cache import opened_cut, opened_network
    from atlas_pipeline.models.shared_trial import shared_pass

    spec = model_spec(config)
    opened_cut(spec, config.layers[-1], "cpu")
    network = opened_network(spec, "cpu")
    for layer in config.layers:
        shared_pass(network, layer, config.sample.maxpool_gradient)


def _timed_stages(config: Config, workspace: Path, executor: Executor) -> dict[str, float]:
    steps, store = steps_of(config), Store(workspace)
    seconds = {}
    for stage in TIMED:
        needed = {source.stage.name for s in steps if s.stage.name == stage for source in s.inputs.values()}
        _run(steps, store, needed, executor)
        started = time.perf_counter()
        _run(steps, store, {stage}, executor)
        seconds[stage] = time.perf_counter() - started
    return seconds


def _run(steps: Sequence[Step], store: Store, stages: set[str], executor: Executor) -> None:
    engine.run(steps, store, only=stages, executor=executor, runtime=Runtime(device="cpu", workers=0))


@contextmanager
def _killing(client: Any, every_s: float | None) -> Iterator[None]:
    """Send SIGKILL to a random worker every `every_s` seconds."""
    ended = threading.Event()
    draw = random.Random(0)

    def kill() -> None:
        while not ended.wait(every_s):
            with suppress(Exception):  # the worker may just have died
                os.kill(draw.choice(list(client.run(os.getpid, on_error="ignore").values())), signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    if every_s:
        killer.start()
    try:
        yield
    finally:
        ended.set()
        if every_s:
            killer.join()


def largest_difference(config: Config, left: Path, right: Path) -> str:
    """Describe which columns of the sampled and inverted artefacts differ, and by how much."""
    import numpy as np

    from atlas_pipeline.tables.columns import column_matrix

    steps = [step for step in steps_of(config) if step.stage.name in TIMED]
    made = [engine.artefacts_of(steps, Store(workspace)) for workspace in (left, right)]
    differing = []
    for step in steps:
        one, other = (artefacts[step].read() for artefacts in made)
        for name in one.column_names:
            if one[name].equals(other[name]):
                continue
            if name in ("activation", "attribution"):
                a, b = column_matrix(one, name), column_matrix(other, name)
            elif name == "icon":
                differing.append(f"{step.stage.name} icon")
                continue
            else:
                a, b = one[name].to_numpy(), other[name].to_numpy()
            differing.append(f"{step.stage.name} {name} {np.abs(a.astype(float) - b).max():.1g}")
    return "equal to serial" if not differing else "not equal to serial: " + ", ".join(differing)


def _summary(timing: Timing) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in timing.stage_s.items())
    return f"{timing.num_workers} workers: open {timing.open_s:.1f} s, {stages}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--num-images", type=int, default=16_000)
    parser.add_argument("--grid", type=int, default=40)
    parser.add_argument("--kill-every", type=float, metavar="SECONDS")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
