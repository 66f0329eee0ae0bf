"""Small image files and shards for the tests."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(seed: int = 0, height: int = 24, width: int = 36) -> np.ndarray:
    """Make a smooth, asymmetric picture, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    pillow = image if isinstance(image, Image.Image) else Image.fromarray(image)
    pillow.save(out, kind, **options)
    return out.getvalue()


def png_16_bit_rgb(values: np.ndarray) -> bytes:
    """Encode (height, width, 3) uint16 as a PNG file, which Pillow cannot write itself."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    blocks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in blocks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def write_files(root: Path, names: list[str]) -> list[bytes]:
    """Write a different PNG under each name and return the files' bytes."""
    files = []
    for i, name in enumerate(names):
        files.append(encoded(picture(i)))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[-1])
    return files


def write_shard(
    file: Path,
    images: list[bytes | None],
    paths: list[str | None],
    labels: list[Any],
    row_group_size: int = 3,
) -> None:
    """Write a Parquet shard in the Hugging Face layout."""
    struct_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": raw, "path": path} for raw, path in zip(images, paths, strict=True)]
    table = pa.table({"image": pa.array(cells, struct_type), "label": labels})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=row_group_size)


def write_tar(file: Path, members: dict[str, bytes], kind: int = tarfile.USTAR_FORMAT) -> None:
    """Write a tar archive with the members in the given order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=kind) as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
