"""Tar shards in WebDataset's layout: the images of a shard, their labels, and their bytes.

A member's key is its path up to the first dot of the file name: ``a/0012.jpg``, ``a/0012.cls`` and
``a/0012.seg.png`` are one sample with the image ``0012.jpg``. The members of a sample are adjacent.
``samples`` decides on the images of a sample and on their labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.digest import read_exactly, sampled_digest
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.samples import Part, images_of, parts_of, samples
from atlas_pipeline.images.shards import beside_shards, find_shards, unreadable
from atlas_pipeline.images.tar_members import BLOCK_BYTES, Member, TarError, size_of_member

MAX_SHOWN = 40
# Two threads overlap waiting for slow disks. On fast disks more threads get in each other's way: six take
# twice as long as one, since they compete for the interpreter after every read.
HEADER_THREADS = 2


def rows(path: str) -> tuple[pa.Table, LeftOut]:
    """List all images of all shards, in order, and what else the shards hold.

    Headers and labels are read, images are not.

    Returns: a table with file, row int64 (the byte at which the image's header starts), size int64 (bytes),
             key (``file/member``) and label int64 (-1: none); counts of everything else.
    Raises:  ImagesError: no shard; a truncated shard or no tar; a sample in two places; a label that is no
             integer.
    """
    root, files = find_shards(path, "tar")
    left_out = beside_shards(path, "tar")
    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        found = list(pool.map(lambda file: _shard_rows(root, file), files))
    for _, shard_left_out in found:
        left_out.add(shard_left_out)
    return pa.concat_tables(table for table, _ in found), left_out


def _shard_rows(root: Path, file: str) -> tuple[pa.Table, LeftOut]:
    images: list[Member] = []
    labels: list[int] = []
    left_out = LeftOut()
    try:
        with open(root / file, "rb") as archive:
            for sample in samples(file, parts_of(archive, file, left_out)):
                for image, label in images_of(sample, file, left_out):
                    images.append(image)
                    labels.append(-1 if label is None else _label(archive, file, label))
    except (OSError, TarError) as error:
        raise unreadable(root, file, error) from error
    if not images:
        left_out.other("shard without images", file)
    columns = {
        "file": pa.array([file] * len(images), pa.string()),
        "row": pa.array([image.header for image in images], pa.int64()),
        "size": pa.array([image.size for image in images], pa.int64()),
        "key": pa.array([f"{file}/{image.name}" for image in images], pa.string()),
        "label": pa.array(labels, pa.int64()),
    }
    return pa.table(columns), left_out


def _label(archive: BinaryIO, file: str, part: Part) -> int:
    """The integer in a ``.cls`` member, or ``label`` or ``cls`` in a ``.json`` member; -1 without either."""
    member = part.member
    archive.seek(member.start)
    raw = archive.read(member.size)
    label: Any = raw[:MAX_SHOWN].decode(errors="replace").strip()
    try:
        if part.extension.endswith("cls"):
            label = int(raw)
        else:
            values = json.loads(raw)
            label = values.get("label", values.get("cls"))
    except (ValueError, AttributeError):
        pass  # quoted in the error below
    if label is None:
        return -1
    if type(label) is not int or label.bit_length() > 63:
        shown = repr(label)[:MAX_SHOWN]
        raise ImagesError(
            f"the label in '{member.name}' of shard '{file}' is {shown}, no integer; "
            f"number the classes from 0"
        )
    return label


def digests(path: str, images: pa.Table) -> list[str]:
    """``sampled_digest`` of images, as hex.

    Args: images: rows of ``rows``, in its order.
    """
    root, _ = find_shards(path, "tar")
    columns = [images[name].to_pylist() for name in ("file", "row", "size")]
    by_file = [
        (file, list(images_in_file))
        for file, images_in_file in groupby(zip(*columns, strict=True), key=lambda image: image[0])
    ]
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda task: _digests(root, *task), by_file)
        return [digest for part in parts for digest in part]


def _digests(root: Path, file: str, images: Sequence[tuple[str, int, int]]) -> list[str]:
    try:
        with open(root / file, "rb", buffering=0) as archive:
            at = archive.fileno()
            return [sampled_digest(at, row + BLOCK_BYTES, size).hex() for _, row, size in images]
    except (OSError, EOFError) as error:
        raise unreadable(root, file, error) from error


class TarReader:
    """Bytes of images by shard and row; keeps the last shard open.

    Args: root: the folder to which shard names are relative.
    """

    def __init__(self, root: Path):
        self._root = root
        self._file: str | None = None

    def read(self, file: str, row: int) -> bytes:
        """Bytes of the image whose header is at ``row``.

        Raises: FileNotFoundError: the shard is gone. ImagesError: it is truncated, or has changed.
        """
        if file != self._file:
            self._file = None
            self._archive = open(self._root / file, "rb", buffering=0)  # noqa: SIM115 -- kept open
            self._file = file
        at = self._archive.fileno()
        try:
            size = size_of_member(read_exactly(at, row, BLOCK_BYTES), row)
            return read_exactly(at, row + BLOCK_BYTES, size)
        except (TarError, EOFError) as error:
            raise unreadable(self._root, file, error) from error
