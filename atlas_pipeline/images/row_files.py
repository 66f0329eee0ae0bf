"""Rows of Parquet shards that hold an image's path instead of its bytes, and the files at these paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.parquet_rows import column_of, image_pieces
from atlas_pipeline.images.shards import find_shards, image_columns, open_shard, unreadable

# Without statistics, a chunk is scanned for nulls if its bytes per row are fewer than any image has.
MIN_IMAGE_BYTES = 64


class RowFile(NamedTuple):
    """A row without bytes: its shard, its place there, its path ('': none), and the file if it exists."""

    file: str
    row: int
    path: str
    found: Path | None


def row_files(path: str, root: str | None) -> list[RowFile]:
    """All rows of all shards without bytes, in order. Only footers are read if there are none.

    Args:   root: the folder to which paths are relative; None: the shard's folder, then the folder of all
            shards.
    Raises: ImagesError: an unreadable shard, or ``root`` is no folder.
    """
    folder, files = find_shards(path, "parquet")
    below = Path(root).expanduser() if root else None
    if below and not below.is_dir():
        raise ImagesError(f"images.root '{root}' is no folder; correct images.root")
    with ThreadPoolExecutor() as pool:
        return [
            row
            for rows in pool.map(lambda file: _shard_row_files(folder, file, below), files)
            for row in rows
        ]


def _shard_row_files(root: Path, file: str, below: Path | None) -> list[RowFile]:
    found: list[RowFile] = []
    with open_shard(root, file) as shard:
        image, path = image_columns(shard.schema_arrow, file)
        try:
            empty = np.concatenate([np.zeros(0, np.int64), *_empty_rows(shard, image)])
            if not len(empty):
                return found
            paths = [None] * len(empty)
            if path is not None:
                column = column_of(shard.read([path], use_threads=False), path)
                paths = column.take(pa.array(empty)).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise unreadable(root, file, error) from error
    bases = bases_of(root, file, below)
    for row, named in zip(empty.tolist(), paths, strict=True):
        found.append(RowFile(file, row, named or "", file_below(bases, named) if named else None))
    return found


def _empty_rows(shard: pq.ParquetFile, image: str) -> Iterator[np.ndarray]:
    """Rows whose image is null, by row group."""
    metadata, start = shard.metadata, 0
    column = [metadata.schema.column(c).path for c in range(metadata.num_columns)].index(image)
    for group in range(metadata.num_row_groups):
        num_rows = metadata.row_group(group).num_rows
        nulls = _num_nulls(metadata.row_group(group).column(column), num_rows)
        if nulls == num_rows:
            yield np.arange(start, start + num_rows)
        elif nulls:
            masks = [
                pc.is_null(piece).to_numpy(zero_copy_only=False)
                for piece in image_pieces(shard, group, image)
            ]
            yield start + np.flatnonzero(np.concatenate(masks))
        start += num_rows


def _num_nulls(chunk: pq.ColumnChunkMetaData, num_rows: int) -> int:
    """Number of null values in a chunk; -1 if unknown."""
    if chunk.is_stats_set and chunk.statistics.has_null_count:
        return int(chunk.statistics.null_count)
    return -1 if chunk.total_uncompressed_size < MIN_IMAGE_BYTES * num_rows else 0


def bases_of(root: Path, file: str, below: Path | None) -> list[Path]:
    """The folders to which the paths in a shard may be relative."""
    return [below] if below else list(dict.fromkeys([(root / file).parent, root]))


def file_below(bases: Sequence[Path], path: str) -> Path | None:
    """The file at ``path`` below one of the folders; None if there is none. Files outside are not read."""
    for base in bases:
        # An absolute path may already lie below the folder, or count from it.
        for candidate in (base / path, base / path.lstrip("/")):
            inside = Path(os.path.normpath(candidate))
            try:
                if inside.is_relative_to(os.path.normpath(base)) and inside.is_file():
                    return inside
            except (OSError, ValueError):  # too long for a file name, or contains a zero byte
                continue
    return None


def check_found(path: str, num_rows: int, rows: Sequence[RowFile], root: str | None) -> None:
    """Check that some row has bytes, or that some path leads to a file.

    Raises: ImagesError: neither.
    """
    if len(rows) < num_rows or any(row.found for row in rows):
        return
    named = [row.path for row in rows if row.path]
    if not named:
        raise ImagesError(
            f"the shards at images.path '{path}' hold neither bytes nor paths of images: all {num_rows:,} "
            "rows are null; correct images.path"
        )
    where = f"images.root '{root}'" if root else "the shards' folder"
    raise ImagesError(
        f"the shards at images.path '{path}' hold paths of images and no bytes, and {where} has none of the "
        f"{len(named):,} files, such as '{named[0]}'; set images.root to the folder they are relative to"
    )


def stamp_lines(rows: Sequence[RowFile]) -> list[str]:
    """A line per file with its path, size and mtime in ns, which changes when the file does."""
    lines = []
    for row in rows:
        status = row.found.stat() if row.found else None
        lines.append(f"{row.path}\0{status.st_size}\0{status.st_mtime_ns}" if status else row.path)
    return lines
