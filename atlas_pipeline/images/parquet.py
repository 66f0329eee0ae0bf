"""The rows of Parquet shards: what identifies each, and its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.folder import DIGEST_BYTES
from atlas_pipeline.images.shards import (
    Columns,
    declared_names,
    find_columns,
    find_shards,
    open_shard,
    unreadable,
)

ROWS_A_READ = 256


class RowGroup(NamedTuple):
    """A row group of a shard: where it starts in the shard and how many rows it has."""

    file: str
    group: int
    start: int
    num_rows: int


class Rows(NamedTuple):
    """What identifies rows: one entry a row."""

    file: list[str]
    row: list[int]
    key: list[str]
    label: list[int]
    digest: list[str]

    def extend(self, other: Rows) -> None:
        """Append the rows of ``other``."""
        self.file.extend(other.file)
        self.row.extend(other.row)
        self.key.extend(other.key)
        self.label.extend(other.label)
        self.digest.extend(other.digest)


def row_groups(path: str) -> list[RowGroup]:
    """All row groups of all shards, in the fixed order.

    Raises: ImagesError: no shard, or one that cannot be read.
    """
    root, files = find_shards(path)
    return [group for file in files for group in shard_row_groups(root, file)]


def shard_row_groups(root: Path, file: str) -> list[RowGroup]:
    """The row groups of one shard."""
    with open_shard(root, file) as shard:
        sizes = [shard.metadata.row_group(g).num_rows for g in range(shard.num_row_groups)]
    starts = np.cumsum([0, *sizes]).tolist()
    return [RowGroup(file, g, starts[g], size) for g, size in enumerate(sizes)]


def class_names(path: str) -> list[str] | None:
    """Class names: those the schema declares, or the sorted values of a column of text; None: neither."""
    root, files = find_shards(path)
    with open_shard(root, files[0]) as shard:
        schema = shard.schema_arrow
    columns = find_columns(schema, files[0])
    if columns.label is None:
        return None
    if not columns.label_is_text:
        return declared_names(schema)
    names: set[str] = set()
    for file in files:
        with open_shard(root, file) as shard:
            try:
                names.update(
                    pc.unique(shard.read(columns=["label"])["label"].cast(pa.string()))
                    .drop_null()
                    .to_pylist()
                )
            except (OSError, KeyError, pa.ArrowException) as error:
                raise unreadable(root, file, error) from error
    return sorted(names)


def identify(path: str, groups: Sequence[RowGroup], positions: np.ndarray) -> Rows:
    """File, row, key, label and digest of the rows at ``positions``.

    Args: positions: (row,) int64, sorted; counted over all rows of ``groups``.
    Raises: ImagesError: a shard that cannot be read, or without the columns of the first.
    """
    root, _ = find_shards(path)
    ends = np.cumsum([group.num_rows for group in groups])
    at = np.searchsorted(positions, np.concatenate([[0], ends]))
    tasks = [
        (group, positions[at[i] : at[i + 1]] - (ends[i] - group.num_rows))
        for i, group in enumerate(groups)
        if at[i] < at[i + 1]
    ]
    names = {name: i for i, name in enumerate(class_names(path) or [])}
    rows = Rows([], [], [], [], [])
    with ThreadPoolExecutor() as pool:
        for part in pool.map(lambda task: _identify_group(root, task[0], task[1], names), tasks):
            rows.extend(part)
    return rows


def _identify_group(root: Path, group: RowGroup, wanted: np.ndarray, names: dict[str, int]) -> Rows:
    rows = Rows([], [], [], [], [])
    with open_shard(root, group.file) as shard:
        columns = find_columns(shard.schema_arrow, group.file)
        try:
            for start, batch in batches(shard, group.group, columns):
                first, last = np.searchsorted(wanted, [start, start + batch.num_rows])
                chosen = batch.take(pa.array(wanted[first:last] - start))
                rows.extend(
                    _identify_rows(chosen, group.file, wanted[first:last] + group.start, columns, names)
                )
        except (OSError, pa.ArrowException) as error:
            raise unreadable(root, group.file, error) from error
    return rows


def _identify_rows(
    batch: pa.RecordBatch, file: str, row: np.ndarray, columns: Columns, names: dict[str, int]
) -> Rows:
    paths = batch["path"].to_pylist() if columns.path else [None] * len(row)
    return Rows(
        file=[file] * len(row),
        row=row.tolist(),
        key=[path or f"{file}#{r}" for path, r in zip(paths, row.tolist(), strict=True)],
        label=_labels(batch, columns, file, names),
        digest=[
            hashlib.blake2b(raw or b"", digest_size=DIGEST_BYTES).hexdigest()
            for raw in batch["image"].to_pylist()
        ],
    )


def _labels(batch: pa.RecordBatch, columns: Columns, file: str, names: dict[str, int]) -> list[int]:
    if columns.label is None:
        return [-1] * batch.num_rows
    if columns.label_is_text:
        return [-1 if name is None else names[name] for name in batch["label"].cast(pa.string()).to_pylist()]
    try:
        return pc.fill_null(batch["label"].cast(pa.int32()), -1).to_pylist()
    except pa.ArrowInvalid as error:
        raise ImagesError(f"a label of '{file}' does not fit 32 bits; number the classes from 0") from error


def batches(shard: pq.ParquetFile, group: int, columns: Columns) -> Iterator[tuple[int, pa.RecordBatch]]:
    """A row group, piece by piece, in order.

    Yields: the piece's first row in the group; its columns image (large_binary) and, where the shard has
        them, path (string) and label (as it stands).
    """
    wanted = {"image": columns.image, "path": columns.path, "label": columns.label}
    there = {name: column for name, column in wanted.items() if column}
    plain = {"image": pa.large_binary(), "path": pa.string()}
    start = 0
    for batch in shard.iter_batches(
        ROWS_A_READ, row_groups=[group], columns=list(there.values()), use_threads=False
    ):
        arrays = {name: _field(batch, column) for name, column in there.items()}
        yield start, pa.record_batch({n: a.cast(plain.get(n, a.type)) for n, a in arrays.items()})
        start += batch.num_rows


def _field(batch: pa.RecordBatch, column: str) -> pa.Array:
    """A column, or a field of a struct column, by its dotted path."""
    if column in batch.schema.names:
        return batch.column(column)
    name, _, child = column.partition(".")
    return pc.struct_field(batch.column(name), child)
