"""Metadata of images besides their labels: a table with one row per image, found by its key."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from atlas_pipeline.errors import ImagesError

KEY = "key"


def metadata_digest(path: str) -> str:
    """sha256 of the table's bytes, hexadecimal, after checking that it can be read.

    Raises: ImagesError: see ``read_metadata``.
    """
    status = _file(path).stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _digest(path: str, size: int, changed_ns: int) -> str:
    # Cached, since every grid of a run needs it.
    read_metadata(path)
    return hashlib.sha256(_file(path).read_bytes()).hexdigest()


def read_metadata(path: str) -> pa.Table:
    """Read a CSV or Parquet table: ``key`` (string, unique) and columns of numbers, booleans or text.

    Raises: ImagesError: unreadable, no column ``key`` or no other column, a repeated key, or a column of
            another kind.
    """
    file = _file(path)
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else _csv(file)
    except (OSError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise ImagesError(f"images.metadata '{path}' cannot be read as CSV or Parquet: {why}") from None
    names = table.schema.names
    if KEY not in names or len(names) < 2:
        raise ImagesError(
            f"images.metadata '{path}' has the columns {', '.join(names)}; wanted are '{KEY}', the images' "
            f"keys as in the index, and at least one other"
        )
    for field in table.schema:
        if field.name != KEY and not (is_text(field.type) or is_number(field.type)):
            raise ImagesError(
                f"images.metadata '{path}': column '{field.name}' holds {field.type}; only numbers, "
                f"booleans and text can be shown; leave it out"
            )
    keys = table[KEY].cast(pa.string())
    counts = pc.value_counts(keys)
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise ImagesError(f"images.metadata '{path}' has key '{twice[0]}' twice; keep one row per image")
    return table.set_column(names.index(KEY), KEY, keys)


def rows_for_images(metadata: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
    """The metadata rows of the images, in their order; nulls for an image without a row.

    Raises: ImagesError: no image has a row.
    """
    rows = pc.index_in(keys, value_set=metadata[KEY].combine_chunks())
    if rows.null_count == len(keys):
        raise ImagesError(
            f"images.metadata has no row for any image: its keys are such as '{metadata[KEY][0]}', those of "
            f"the images such as '{keys[0]}'"
        )
    return metadata.drop_columns([KEY]).take(rows.combine_chunks())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, plain or dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers or booleans."""
    return pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def numbers_of(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers or booleans as (image,) float64; NaN for null."""
    return column.cast(pa.float64()).to_numpy()


def _csv(file: Path) -> pa.Table:
    # A key such as 0012 must stay text.
    options = pyarrow.csv.ConvertOptions(column_types={KEY: pa.string()}, strings_can_be_null=True)
    return pyarrow.csv.read_csv(file, convert_options=options)


def _file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ImagesError(f"images.metadata '{path}' is no file; give a CSV or Parquet table")
    return file
