"""A digest of the values of a table's columns, the same however the rows are cut into parts or batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Contiguous, as a hash takes it.
Buffer: TypeAlias = Any

_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def values_digest(tables: Iterable[pa.Table]) -> str:
    """32 hex digits of the columns' names, types and values, over the tables in turn, each read once.

    Raises: TypeError: a column that is neither fixed-width, text, bytes, list, struct nor dictionary.
    """
    # One hash a stream of equal-typed numbers: each sees the same bytes wherever the tables are cut.
    streams: dict[str, hashlib.blake2b] = {}
    for table in tables:
        for name in table.column_names:
            for chunk in table.column(name).chunks:
                for place, raw in _streams(name, chunk):
                    streams.setdefault(place, hashlib.blake2b(digest_size=16)).update(raw)
    whole = hashlib.blake2b(digest_size=16)
    for place in sorted(streams):
        whole.update(f"{place}\0{streams[place].hexdigest()}\n".encode())
    return whole.hexdigest()


def _streams(place: str, array: pa.Array) -> Iterator[tuple[str, Buffer]]:
    """The array as named streams of plain bytes: validity, lengths, values."""
    kind = array.type
    if not len(array):
        return
    if pa.types.is_dictionary(kind):
        yield from _streams(place, array.dictionary_decode())
        return
    yield f"{place} valid", array.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False)
    if any(test(kind) for test in _LIST):
        lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
        yield f"{place} length", lengths.to_numpy(zero_copy_only=False)
        yield from _streams(f"{place} item", array.flatten())
    elif pa.types.is_struct(kind):
        for field, child in zip(kind, array.flatten(), strict=True):
            yield from _streams(f"{place} {field.name}", child)
    elif any(test(kind) for test in _TEXT):
        yield from _text(place, pc.fill_null(array.cast(pa.large_binary()), b""))
    elif pa.types.is_boolean(kind):
        yield f"{place} bool", pc.fill_null(array, False).cast(pa.uint8()).to_numpy(zero_copy_only=False)
    elif pa.types.is_primitive(kind):
        yield f"{place} {kind}", _fixed_width(array)
    elif not pa.types.is_null(kind):
        raise TypeError(f"cannot digest {place}: a column of type {kind}")


def _text(place: str, array: pa.Array) -> Iterator[tuple[str, Buffer]]:
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    yield f"{place} length", np.diff(offsets)
    if array.buffers()[2] is not None:
        yield f"{place} bytes", memoryview(array.buffers()[2])[offsets[0] : offsets[-1]]


def _fixed_width(array: pa.Array) -> Buffer:
    # Under a null stands whatever was there before: make it zero, or equal tables would differ.
    if array.null_count:
        width = array.type.bit_width
        flat = array.view(pa.from_numpy_dtype(f"int{width}"))
        array = pc.fill_null(flat, 0)
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
