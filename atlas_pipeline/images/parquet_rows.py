"""The rows of Parquet shards: their identity and their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import shards
from atlas_pipeline.images.digest import DIGEST_BYTES, sampled_digest
from atlas_pipeline.images.shards import (
    Columns,
    declared_names,
    find_columns,
    find_shards,
    image_columns,
    open_shard,
    unreadable,
)

ROWS_PER_READ = 256
PIECES_PER_GROUP = 16


class RowGroup(NamedTuple):
    """A row group of a shard: its first row in the shard, and its number of rows."""

    file: str
    group: int
    start: int
    num_rows: int


def row_groups(path: str, label_column: str | None = None) -> list[RowGroup]:
    """All row groups of all shards, in the fixed order.

    Raises: ImagesError: no shard, an unreadable shard, or one with other columns than the first.
    """
    root, files = find_shards(path, "parquet")
    _check_columns(root, files, label_column)
    return [group for file in files for group in shard_row_groups(root, file)]


def _check_columns(root: Path, files: Sequence[str], label_column: str | None) -> None:
    """Check that all shards store images, paths and labels alike.

    Raises: ImagesError: a shard differs from the first.
    """

    def kept(file: str) -> tuple[Columns, list[str] | None]:
        with open_shard(root, file) as shard:
            columns = find_columns(shard.schema_arrow, file, label_column)
            return columns, declared_names(shard.schema_arrow, columns.label)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(kept, files))
    for file, (columns, names) in zip(files, found, strict=True):
        if columns != found[0][0]:
            what = f"it has {columns}; '{files[0]}' has {found[0][0]}"
        elif names != found[0][1]:
            what = f"its label names are not those of '{files[0]}'"
        else:
            continue
        raise ImagesError(f"shard '{file}' does not go with the others: {what}. Convert it or move it away")


def shard_row_groups(root: Path, file: str) -> list[RowGroup]:
    """The row groups of one shard."""
    with open_shard(root, file) as shard:
        sizes = [shard.metadata.row_group(g).num_rows for g in range(shard.num_row_groups)]
    starts = np.cumsum([0, *sizes]).tolist()
    return [RowGroup(file, g, starts[g], size) for g, size in enumerate(sizes)]


def class_names(path: str, label_column: str | None = None) -> list[str] | None:
    """Class names declared in the schema, or the sorted values of a text column; None if there are neither.

    Args: label_column: see ``shards.find_columns``.
    """
    root, files = find_shards(path, "parquet")
    with open_shard(root, files[0]) as shard:
        schema = shard.schema_arrow
    columns = find_columns(schema, files[0], label_column)
    if columns.label is None:
        return None
    if not columns.label_is_text:
        return declared_names(schema, columns.label)
    names: set[str] = set()
    for file in files:
        with open_shard(root, file) as shard:
            try:
                values = shard.read(columns=[columns.label])[columns.label].cast(pa.string())
                names.update(pc.unique(values).drop_null().to_pylist())
            except (OSError, KeyError, pa.ArrowException) as error:
                raise unreadable(root, file, error) from error
    return sorted(names)


def remark_on_labels(path: str) -> str | None:
    """A remark on the labels if the config names no column for them; None if there is nothing to say."""
    root, files = find_shards(path, "parquet")
    with open_shard(root, files[0]) as shard:
        return shards.remark_on_labels(shard.schema_arrow)


def rows(path: str, groups: Sequence[RowGroup], label_column: str | None = None) -> pa.Table:
    """All rows in the order of ``groups``: file, row int64, key, label int64 (-1: none).

    The key is the row's path, or ``file#row`` if it has no path or shares it with another row.

    Raises: ImagesError: an unreadable shard.
    """
    root, _ = find_shards(path, "parquet")
    names = pa.array(class_names(path, label_column) or [], pa.string())
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda file: _shard_rows(root, file, names, label_column), _by_file(groups))
        table = pa.concat_tables(found)
    keys = table["key"]
    counts = pc.value_counts(keys)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    own = pc.binary_join_element_wise(table["file"], table["row"].cast(pa.string()), "#")
    nameless = pc.or_(pc.is_in(keys, value_set=repeated), pc.fill_null(pc.equal(keys, ""), True))
    return table.set_column(2, "key", pc.if_else(nameless, own, keys))


def _by_file(groups: Sequence[RowGroup]) -> dict[str, list[RowGroup]]:
    """The groups of every shard, so that its footer is read only once."""
    return {file: list(group_rows) for file, group_rows in groupby(groups, key=lambda group: group.file)}


def _shard_rows(root: Path, file: str, names: pa.Array, label_column: str | None) -> pa.Table:
    with open_shard(root, file) as shard:
        columns, num_rows = find_columns(shard.schema_arrow, file, label_column), shard.metadata.num_rows
        try:
            table = shard.read([c for c in (columns.path, columns.label) if c], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(root, file, error) from error
    key = (
        column_of(table, columns.path).cast(pa.string()) if columns.path else pa.nulls(num_rows, pa.string())
    )
    if columns.label is None:
        label = pa.array(np.full(num_rows, -1))
    elif columns.label_is_text:
        label = pc.fill_null(pc.index_in(table[columns.label].cast(pa.string()), value_set=names), -1)
    else:
        try:
            label = pc.fill_null(table[columns.label].cast(pa.int64()), -1)
        except pa.ArrowInvalid as error:
            raise ImagesError(
                f"column '{columns.label}' of '{file}' has a label that is no class ({error}); correct it"
            ) from error
    constant = pa.array([file]).take(pa.array(np.zeros(num_rows, np.int64)))
    row = pa.array(np.arange(num_rows))
    return pa.table({"file": constant, "row": row, "key": key, "label": label.cast(pa.int64())})


def digests(path: str, groups: Sequence[RowGroup], positions: np.ndarray) -> list[str]:
    """Digests of the images at ``positions``, as hex.

    A digest covers the stored bytes of the row group, by ``sampled_digest``, and the row's place in it. The
    shard's name and location do not matter.

    Args: positions: (row,) int64, sorted; counted over all rows of ``groups``.
    """
    root, _ = find_shards(path, "parquet")
    starts = np.cumsum([0, *(group.num_rows for group in groups)])
    at = np.searchsorted(positions, starts)
    used = [i for i in range(len(groups)) if at[i] < at[i + 1]]
    by_file = _by_file([groups[i] for i in used])
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda file: _group_digests(root, file, by_file[file]), by_file)
        group_digests = [digest for part in parts for digest in part]
    out: list[str] = []
    for i, digest in zip(used, group_digests, strict=True):
        places = (int(place).to_bytes(8, "little") for place in positions[at[i] : at[i + 1]] - starts[i])
        out += (hashlib.blake2b(digest + place, digest_size=DIGEST_BYTES).hexdigest() for place in places)
    return out


def _group_digests(root: Path, file: str, groups: Sequence[RowGroup]) -> list[bytes]:
    """Digest of each group's images as stored in a column chunk, compressed or not."""
    with open_shard(root, file) as shard:
        image, metadata = image_columns(shard.schema_arrow, file)[0], shard.metadata
    names = [metadata.schema.column(c).path for c in range(metadata.num_columns)]
    digests = []
    try:
        with open(root / file, "rb", buffering=0) as raw:
            for group in groups:
                chunk = metadata.row_group(group.group).column(names.index(image))
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                size = chunk.total_compressed_size
                digests.append(sampled_digest(raw.fileno(), start, size, PIECES_PER_GROUP))
    except (OSError, EOFError) as error:
        raise unreadable(root, file, error) from error
    return digests


def image_pieces(shard: pq.ParquetFile, group: int, column: str) -> Iterator[pa.Array]:
    """The images of a row group, piece by piece, in order: large_binary."""
    for batch in shard.iter_batches(ROWS_PER_READ, row_groups=[group], columns=[column], use_threads=False):
        yield column_of(batch, column).cast(pa.large_binary())


def column_of(rows: pa.Table | pa.RecordBatch, column: str) -> pa.Array | pa.ChunkedArray:
    """A column, or a field of a struct column, by its dotted path."""
    if column in rows.schema.names:
        return rows.column(column)
    name, _, child = column.partition(".")
    return pc.struct_field(rows.column(name), child)
