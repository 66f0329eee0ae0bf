"""Bytes of single rows of Parquet shards, fast when read in order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.parquet_rows import RowGroup, column_of, image_pieces, shard_row_groups
from atlas_pipeline.images.row_files import bases_of, file_below
from atlas_pipeline.images.shards import image_columns, open_shard, unreadable


class RowReader:
    """Bytes of rows; a row group is streamed once if its rows are read in order.

    Args:
        root: the folder to which shard names are relative.
        files: the folder to which the paths in rows without bytes are relative; None: the shards' own.
    """

    def __init__(self, root: Path, files: Path | None = None):
        self._root, self._files = root, files
        self._file: str | None = None
        self._paths: pa.ChunkedArray | None = None
        self._stream: _GroupStream | None = None

    def read(self, file: str, row: int) -> bytes:
        """Bytes of the image in ``row`` of the shard ``file``, or of the file that the row names.

        Raises: FileNotFoundError: the shard is gone. ImagesError: the shard cannot be read, has no such row,
                or names a missing file.
        """
        if file != self._file:
            self._open(file)
        stream = self._stream
        if stream is None or not stream.reaches(row):
            groups = [group for group in self._groups if 0 <= row - group.start < group.num_rows]
            if not groups:
                raise ImagesError(f"shard '{file}' has no row {row}: it changed since it was listed")
            stream = _GroupStream(self._shard, groups[0], self._column)
        self._stream = None  # a stream is dropped when it fails
        try:
            raw = stream.read(row)
        except (OSError, pa.ArrowException, StopIteration) as error:
            raise unreadable(self._root, file, error) from error
        self._stream = stream
        return self._bytes_of_file(file, row) if raw is None else raw

    def _bytes_of_file(self, file: str, row: int) -> bytes:
        if self._path is None:
            raise ImagesError("its row holds no bytes")
        if self._paths is None:
            column = self._path
            try:
                self._paths = column_of(self._shard.read([column], use_threads=False), column)
            except (OSError, pa.ArrowException) as error:
                raise unreadable(self._root, file, error) from error
        path = self._paths[row].as_py()
        if not path:
            raise ImagesError("its row holds neither bytes nor a path")
        bases = bases_of(self._root, file, self._files)
        found = file_below(bases, path)
        if found is None:
            raise ImagesError(f"its row holds no bytes, and there is no file '{path}' below '{bases[0]}'")
        return found.read_bytes()

    def _open(self, file: str) -> None:
        self._file = self._stream = None
        if not (self._root / file).exists():
            raise FileNotFoundError(file)
        self._groups = shard_row_groups(self._root, file)
        self._shard: pq.ParquetFile = open_shard(self._root, file)
        self._column, self._path = image_columns(self._shard.schema_arrow, file)
        self._paths = None
        self._file = file


class _GroupStream:
    """The rows of one row group, read forward."""

    def __init__(self, shard: pq.ParquetFile, group: RowGroup, column: str):
        self._group = group
        self._pieces = image_pieces(shard, group.group, column)
        # Not pa.array([]), whose first use imports pandas: 1.6 s in every worker.
        self._first, self._values = group.start, pa.nulls(0)

    def reaches(self, row: int) -> bool:
        """Whether ``row`` is in this row group and not yet passed."""
        return self._first <= row < self._group.start + self._group.num_rows

    def read(self, row: int) -> bytes | None:
        while row >= self._first + len(self._values):
            self._first += len(self._values)
            self._values = next(self._pieces)
        value: bytes | None = self._values[row - self._first].as_py()
        return value
