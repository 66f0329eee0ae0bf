"""Digest of the values of a table's columns, independent of how the rows are split into parts or batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A contiguous buffer that a hash accepts.
Buffer: TypeAlias = Any

_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def values_digest(tables: Iterable[pa.Table]) -> str:
    """Digest the columns' names, types and values over all tables: 32 hex digits; reads each table once.

    Raises: TypeError: a column is not fixed-width, text, bytes, list, struct or dictionary.
    """
    # One hash per stream of equally typed values: each sees the same bytes wherever the tables are split.
    streams: dict[str, hashlib.blake2b] = {}
    for table in tables:
        for name in table.column_names:
            for chunk in table.column(name).chunks:
                for path, raw in _streams(name, chunk):
                    streams.setdefault(path, hashlib.blake2b(digest_size=16)).update(raw)
    total = hashlib.blake2b(digest_size=16)
    for path in sorted(streams):
        total.update(f"{path}\0{streams[path].hexdigest()}\n".encode())
    return total.hexdigest()


def _streams(path: str, array: pa.Array) -> Iterator[tuple[str, Buffer]]:
    """Flatten an array into named byte streams: validity, lengths, values."""
    kind = array.type
    if not len(array):
        return
    if pa.types.is_dictionary(kind):
        yield from _streams(path, array.dictionary_decode())
        return
    yield f"{path} valid", array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)
    if any(test(kind) for test in _LIST):
        lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
        yield f"{path} length", lengths.to_numpy(zero_copy_only=False)
        yield from _streams(f"{path} item", array.flatten())
    elif pa.types.is_struct(kind):
        for field, child in zip(kind, array.flatten(), strict=True):
            yield from _streams(f"{path} {field.name}", child)
    elif any(test(kind) for test in _TEXT):
        yield from _text(path, pc.fill_null(array.cast(pa.large_binary()), b""))
    elif pa.types.is_boolean(kind):
        yield f"{path} bool", pc.fill_null(array, False).cast(pa.uint8()).to_numpy(zero_copy_only=False)
    elif pa.types.is_primitive(kind):
        yield f"{path} {kind}", _fixed_width(array)
    elif not pa.types.is_null(kind):
        raise TypeError(f"cannot digest {path}: a column of type {kind}")


def _text(path: str, array: pa.Array) -> Iterator[tuple[str, Buffer]]:
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    yield f"{path} length", np.diff(offsets)
    if array.buffers()[2] is not None:
        yield f"{path} bytes", memoryview(array.buffers()[2])[offsets[0] : offsets[-1]]


def _fixed_width(array: pa.Array) -> Buffer:
    # The bytes under a null are arbitrary: set them to zero, or equal tables would have different digests.
    if array.null_count:
        width = array.type.bit_width
        flat = array.view(pa.from_numpy_dtype(f"int{width}"))
        array = pc.fill_null(flat, 0)
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
