"""Images for the reading benchmark: photos, and small images in a folder, Parquet and tar."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FILES_A_FOLDER, ROWS_A_SHARD, ROWS_A_GROUP = 1000, 10_000, 1000
SMALL_PX, PHOTO_PX = 32, (375, 500)  # PHOTO_PX: the median (height, width) of ImageNet's photos
SOURCES = ("folder", "parquet", "tar")


def jpeg(seed: int, height: int, width: int, quality: int = 95) -> bytes:
    """A JPEG of a smooth image with noise, as detailed as a photo: 100 KB at 375 x 500."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    noisy = smooth + rng.normal(0, 9, (height, width, 1)).astype(np.float32)
    out = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def write_photos(root: Path, num_photos: int) -> Path:
    """Write photos of ten classes, one folder each."""
    for i in range(num_photos):
        file = root / f"class-{i % 10}" / f"{i:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg(i, *PHOTO_PX))
    return root


def small_images(num_images: int) -> Iterator[tuple[int, bytes]]:
    """Small distinct JPEGs: 64 images, made distinct by a number appended after the end of the JPEG."""
    pictures = [jpeg(i, SMALL_PX, SMALL_PX) for i in range(64)]
    return ((i, pictures[i % 64] + str(i).encode()) for i in range(num_images))


def write_small(root: Path, source: str, num_images: int) -> Path:
    """Write small images as files, as Parquet shards (Hugging Face layout) or as tar shards (WebDataset)."""
    {"folder": _files, "parquet": _parquet, "tar": _tar}[source](root, num_images)
    return root


def _files(root: Path, num_images: int) -> None:
    for i, raw in small_images(num_images):
        folder = root / f"{i // FILES_A_FOLDER:05}"
        if i % FILES_A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{i:08}.jpg").write_bytes(raw)


def _parquet(root: Path, num_images: int) -> None:
    root.mkdir(parents=True)
    numbered = small_images(num_images)
    for first in range(0, num_images, ROWS_A_SHARD):
        part = list(islice(numbered, ROWS_A_SHARD))
        table = pa.table(
            {
                "image": [{"bytes": raw, "path": f"{i:08}.jpg"} for i, raw in part],
                "label": [i % 1000 for i, _ in part],
            }
        )
        pq.write_table(table, root / f"{first:08}.parquet", row_group_size=ROWS_A_GROUP)


def _tar(root: Path, num_images: int) -> None:
    root.mkdir(parents=True)
    numbered = small_images(num_images)
    for first in range(0, num_images, ROWS_A_SHARD):
        with tarfile.open(root / f"{first:08}.tar", "w") as archive:
            for i, raw in islice(numbered, ROWS_A_SHARD):
                for name, content in ((f"{i:08}.jpg", raw), (f"{i:08}.cls", str(i % 1000).encode())):
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
