"""Sample a million small images for three layers: speed, memory, and recovery from five kills.

    python -m scripts.benchmarks.sampling FOLDER               # 1,000,000 images, kept in FOLDER/images
    python -m scripts.benchmarks.sampling FOLDER --images 50000 --json report.json

The images are 32 px JPEGs in Parquet shards (Hugging Face layout): cropped, flipped and brightened versions
of a few thousand generated ones. The network is small and has random weights. The benchmark first measures
decoding alone and the network alone (feature maps and attributions of three layers, on images in memory).
It then runs `atlas sample` end to end in a separate process and records the memory of all its processes.
Finally it repeats that run, sends SIGKILL to the process group at random moments and resumes each time.
Both runs must hold equal values.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.engine.values import values_digest
from atlas_pipeline.runs.pipeline_file import steps_of
from scripts.benchmarks.own_process import in_own_process
from scripts.benchmarks.sampling_cases import make_images, write_config

NUM_KILLS, WATCH_S = 5, 0.25


def main() -> None:
    """Run the benchmark and print its results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="working folder; FOLDER/images is kept and reused")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    row = measure(options.images, options.folder)
    from scripts.benchmarks.report import machine, print_table, write_json

    print_table("Sampling three layers", [row])
    write_json(options.json, {"machine": machine("cpu"), "sampling": row})


def measure(num_images: int, folder: Path) -> dict[str, Any]:
    """Measure one case end to end.

    Seconds of decoding alone and of the network alone are extrapolated to all images.

    Raises: SystemExit: a run fails, or the killed run holds other values.
    """
    folder = folder.absolute()
    images = make_images(folder / "images", num_images)
    undisturbed = write_config(folder / "undisturbed", images, num_images)
    killed = write_config(folder / "killed", images, num_images)
    some = min(num_images, 20_000)
    decoding = num_images / in_own_process(_decoding_rate, undisturbed, some)
    network = num_images / in_own_process(_network_rate, undisturbed, some)
    listing, _ = _watched(_command("index", undisturbed))
    seconds, peak = _watched(_command("sample", undisturbed))
    killed_seconds = _killed_at_random(killed, seconds)
    if _values(undisturbed) != _values(killed):
        raise SystemExit("the killed run holds other values than the undisturbed one")
    return {
        "images": num_images,
        "index s": listing,
        "decoding alone s": decoding,
        "network alone s": network,
        "sample s": seconds,
        "images/s": num_images / seconds,
        "of the sum": seconds / (decoding + network),
        "peak GB": peak / 1e9,
        f"killed {NUM_KILLS} times s": killed_seconds,
        "values": "equal",
    }


def _opened(path: Path, num_images: int) -> tuple[Any, Any, Any]:
    """Open the config, the network and the first rows of a fresh listing; `index` is timed separately."""
    from atlas_pipeline.config.run_settings import model_spec
    from atlas_pipeline.images.listing import list_images
    from atlas_pipeline.models.network_cache import opened_network

    config = load_config(path)
    rows = list_images("parquet", config.images.path, num_images=num_images, seed=config.seed)
    return config, opened_network(model_spec(config), "cpu"), rows


def _batches(config: Any, network: Any, rows: Any, num_workers: int) -> Iterator[Any]:
    from atlas_pipeline.images.batches import image_batches
    from atlas_pipeline.tables.image_rows import CPU_BATCH

    source, path = config.images.source, config.images.path
    return image_batches(rows, source, path, network.preprocess, config.seed, CPU_BATCH, num_workers)


def _decoding_rate(path: Path, num_images: int) -> float:
    """Images/s decoded to batches in memory, by as many processes as a run uses, without their start."""
    from atlas_pipeline.runs.devices import resolved_workers

    config, network, rows = _opened(path, num_images)
    batches = _batches(config, network, rows, resolved_workers("auto"))
    next(batches)
    started = time.perf_counter()
    done = sum(len(batch.image_id) for batch in batches)
    return done / (time.perf_counter() - started)


def _network_rate(path: Path, num_images: int) -> float:
    """Images/s of the forward pass and the attributions of three layers, on batches in memory."""
    from types import SimpleNamespace

    from atlas_pipeline.stages.sampling.sample import add_batch
    from atlas_pipeline.tables.image_rows import CPU_BATCH
    from atlas_pipeline.tables.layer_shard import LayerShard

    config, network, rows = _opened(path, num_images)
    steps = (step for step in steps_of(config) if step.stage.name == "sample")
    jobs = [SimpleNamespace(config=step.config, settings=step.settings) for step in steps]
    shards = [LayerShard(job, network, rows) for job in jobs]
    first, *others = list(_batches(config, network, rows, 0))
    add_batch(first.image_id, first.images, shards, network, "cpu", CPU_BATCH)
    started = time.perf_counter()
    for batch in others:
        add_batch(batch.image_id, batch.images, shards, network, "cpu", CPU_BATCH)
    return (rows.num_rows - len(first.image_id)) / (time.perf_counter() - started)


def _command(stage: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "atlas_pipeline", stage, str(config), "--quiet"]


def _watched(command: list[str]) -> tuple[float, int]:
    """Run a command; return its seconds and the peak resident bytes of it and its descendants.

    Raises: SystemExit: the command fails.
    """
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, _resident_bytes(watched))
        time.sleep(WATCH_S)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return time.monotonic() - started, peak


def _resident_bytes(process: psutil.Process) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def _killed_at_random(config: Path, undisturbed_s: float) -> float:
    """Total seconds of a run that is killed and resumed.

    Each kill comes after 5 to 20 % of the undisturbed time.
    """
    rng, started = random.Random(0), time.monotonic()
    for _ in range(NUM_KILLS):
        process = subprocess.Popen(
            _command("sample", config), stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=rng.uniform(0.05, 0.2) * undisturbed_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:
            raise SystemExit("the run ended before it could be killed")
    _watched(_command("sample", config))
    return time.monotonic() - started


def _values(path: Path) -> dict[str, str]:
    """Digest of the values of each layer's sample."""
    config = load_config(path)
    store = Store(config.run.workspace)
    samples = [step for step in steps_of(config) if step.stage.name == "sample"]
    return {str(step.layer): values_digest(artefact_of(step, store).parts()) for step in samples}


if __name__ == "__main__":
    main()
