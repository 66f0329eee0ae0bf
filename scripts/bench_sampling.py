"""Sampling a million small images for three layers: speed beside its parts, memory, and killed five times.

    python scripts/bench_sampling.py FOLDER                    # 1,000,000 images; they stay in FOLDER/images
    python scripts/bench_sampling.py FOLDER --images 50000 --json report.json

The images are 32 px JPEGs in Parquet shards (Hugging Face's layout): crops, flips and brightnesses of a few
thousand generated ones. The network is small, with random weights. Decoding alone and the network alone
(feature maps and attributions of three layers, on images in memory) are measured first; then `atlas sample`
from end to end in a process of its own, with the memory of all its processes; then the same with SIGKILL to
the whole process group at random moments, resumed each time. Both runs must hold the same values.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from own_process import in_own_process

from atlas_pipeline.config_file import load_config
from atlas_pipeline.engine import Store, artefact_of
from atlas_pipeline.engine.values import values_digest
from atlas_pipeline.pipeline_file import steps_of

SHARD_IMAGES, NUM_BASES, SIDE = 50_000, 2000, 32
SHARD_ROWS = 16_384
NUM_KILLS, WATCH_S = 5, 0.25
NETWORK = '''
import torch
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU())


def build():
    """Random weights, the same ones each time; maps of 16, 8 and 4 positions a side."""
    torch.manual_seed(0)
    return nn.Sequential(
        block(3, 8), block(8, 16), block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


PREPROCESS = dict(resize=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
'''
LAYERS = ["0", "1", "2"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where it works; FOLDER/images is kept and used again")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    row = measure(options.images, options.folder)
    from inversion_report import machine, print_table, write_json

    print_table("Sampling three layers", [row])
    write_json(options.json, {"machine": machine("cpu"), "sampling": row})


def measure(num_images: int, folder: Path) -> dict[str, Any]:
    """One case, from end to end. Seconds of decoding and of the network alone are of all the images, by rate.

    Raises: SystemExit: a run fails, or the killed one holds other values.
    """
    folder = folder.absolute()
    images = make_images(folder / "images", num_images)
    undisturbed = _write_config(folder / "undisturbed", images, num_images)
    killed = _write_config(folder / "killed", images, num_images)
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


def make_images(folder: Path, num_images: int) -> Path:
    """The shards that are not there yet; the same bytes whoever makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = -(-num_images // SHARD_IMAGES)
    missing = [i for i in range(num_shards) if not (folder / f"train-{i:05d}.parquet").exists()]
    if missing:
        # spawn: torch has threads by now.
        with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("spawn")) as pool:
            list(pool.map(_make_shard, itertools.repeat(folder), missing))
    return folder


def _make_shard(folder: Path, shard: int) -> None:
    from PIL import Image

    bases = _bases(folder)
    rng = np.random.default_rng(shard)
    files, labels = [], []
    for _ in range(SHARD_IMAGES):
        number = int(rng.integers(len(bases)))
        top, left = rng.integers(0, bases.shape[1] - SIDE + 1, 2)
        pixels = bases[number, top : top + SIDE, left : left + SIDE]
        pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        brighter = np.clip(pixels * rng.uniform(0.6, 1.4), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(brighter).save(file, "JPEG", quality=90)
        files.append({"bytes": file.getvalue(), "path": f"{shard}-{len(files)}.jpg"})
        labels.append(number % 10)
    table = pa.table({"image": pa.array(files), "label": pa.array(labels, pa.int64())})
    aside = folder / f".train-{shard:05d}.tmp"
    pq.write_table(table, aside, row_group_size=1000)
    aside.rename(folder / f"train-{shard:05d}.parquet")


def _bases(folder: Path) -> np.ndarray:
    from PIL import Image

    from atlas_pipeline.images.generated import image

    whole = (np.asarray(image(0, number)[0]) for number in range(NUM_BASES))
    return np.stack([np.asarray(Image.fromarray(pixels).resize((48, 48))) for pixels in whole])


def _write_config(folder: Path, images: Path, num_images: int) -> Path:
    """A workspace without artefacts, and the config of a run in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder.parent / "network.py").write_text(NETWORK)
    config = {
        "name": "sampling",
        "model": {"source": "python", "name": f"{folder.parent}/network.py:build"},
        "images": {"source": "parquet", "path": str(images), "num_images": num_images},
        "layers": LAYERS,
        # Small cases too have parts to lose.
        "sample": {"shard_size": min(SHARD_ROWS, max(1, num_images // 8))},
        "run": {"workspace": str(folder / "workspace"), "device": "cpu"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _opened(path: Path, num_images: int) -> tuple[Any, Any, Any]:
    """The config, the network and the first rows of the listing (made here: `index` is timed by itself)."""
    from atlas_pipeline.images.listing import list_images
    from atlas_pipeline.stages.opened import model_spec, opened_network

    config = load_config(path)
    rows = list_images("parquet", config.images.path, num_images=num_images, seed=config.seed)
    return config, opened_network(model_spec(config), "cpu"), rows


def _batches(config: Any, network: Any, rows: Any, num_workers: int) -> Iterator[Any]:
    from atlas_pipeline.images.batches import image_batches
    from atlas_pipeline.stages.sample import CPU_BATCH

    source, path = config.images.source, config.images.path
    return image_batches(rows, source, path, network.preprocess, config.seed, CPU_BATCH, num_workers)


def _decoding_rate(path: Path, num_images: int) -> float:
    """Images/s to batches in memory, by as many processes as a run takes; their start not counted."""
    from atlas_pipeline.devices import resolved_workers

    config, network, rows = _opened(path, num_images)
    batches = _batches(config, network, rows, resolved_workers("auto"))
    next(batches)
    started = time.perf_counter()
    done = sum(len(batch.image_id) for batch in batches)
    return done / (time.perf_counter() - started)


def _network_rate(path: Path, num_images: int) -> float:
    """Images/s of the forward and of three layers' attributions, on batches in memory."""
    from types import SimpleNamespace

    from atlas_pipeline.stages import sample
    from atlas_pipeline.stages.layer_shard import LayerShard

    config, network, rows = _opened(path, num_images)
    steps = (step for step in steps_of(config) if step.stage.name == "sample")
    jobs = [SimpleNamespace(config=step.config, settings=step.settings) for step in steps]
    shards = [LayerShard(job, network, rows) for job in jobs]
    first, *others = list(_batches(config, network, rows, 0))
    sample._add(first.image_id, first.images, shards, network, "cpu")
    started = time.perf_counter()
    for batch in others:
        sample._add(batch.image_id, batch.images, shards, network, "cpu")
    return (rows.num_rows - len(first.image_id)) / (time.perf_counter() - started)


def _command(stage: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "atlas_pipeline", stage, str(config), "--quiet"]


def _watched(command: list[str]) -> tuple[float, int]:
    """Seconds, and the largest sum of resident memory of the process and all below it.

    Raises: SystemExit: it fails.
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
    """Seconds in all; each kill is after 5 to 20 % of the undisturbed time."""
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
    """A digest of the values of every layer's sample."""
    config = load_config(path)
    store = Store(config.run.workspace)
    samples = [step for step in steps_of(config) if step.stage.name == "sample"]
    return {str(step.layer): values_digest(artefact_of(step, store).parts()) for step in samples}


if __name__ == "__main__":
    main()
