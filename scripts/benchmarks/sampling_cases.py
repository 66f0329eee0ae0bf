"""Inputs of the sampling benchmark: small images in Parquet shards, and a small network."""

from __future__ import annotations

import io
import itertools
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

SHARD_IMAGES, NUM_BASES, SIDE = 50_000, 2000, 32
SHARD_ROWS = 16_384
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


def make_images(folder: Path, num_images: int) -> Path:
    """Write the missing shards; their bytes are deterministic."""
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = -(-num_images // SHARD_IMAGES)
    missing = [i for i in range(num_shards) if not (folder / f"train-{i:05d}.parquet").exists()]
    if missing:
        # spawn: torch has started threads, which a fork would break.
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
    partial = folder / f".train-{shard:05d}.tmp"
    pq.write_table(table, partial, row_group_size=1000)
    partial.rename(folder / f"train-{shard:05d}.parquet")


def _bases(folder: Path) -> np.ndarray:
    from PIL import Image

    from atlas_pipeline.images.generated import image

    whole = (np.asarray(image(0, number)[0]) for number in range(NUM_BASES))
    return np.stack([np.asarray(Image.fromarray(pixels).resize((48, 48))) for pixels in whole])


def write_config(folder: Path, images: Path, num_images: int) -> Path:
    """Write a config with an empty workspace, and its network."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder.parent / "network.py").write_text(NETWORK)
    config = {
        "name": "sampling",
        "model": {"source": "python", "name": f"{folder.parent}/network.py:build"},
        "images": {"source": "parquet", "path": str(images), "num_images": num_images},
        "layers": LAYERS,
        # At least eight parts, so that a kill can interrupt small cases too.
        "sample": {"shard_size": min(SHARD_ROWS, max(1, num_images // 8))},
        "run": {"workspace": str(folder / "workspace"), "device": "cpu"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
