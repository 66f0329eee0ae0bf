"""Files as rows of an artefact's table: the pictures and documents that end up in a run's folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

import pyarrow as pa

from atlas_pipeline.engine.stage import Artefact

# Bytes of files held in memory at once when they are streamed.
_BATCH_BYTES = 1 << 23


_FILES = pa.schema([("file", pa.string()), ("content", pa.large_binary())])


def file_table(files: Mapping[str, bytes]) -> pa.Table:
    """A table with one row per file, from name to content."""
    return pa.table(_file_columns(files.items()), schema=_FILES)


def file_stream(pieces: Iterable[tuple[str, bytes]]) -> pa.RecordBatchReader:
    """A stream of file pieces, one per row, for files that are too large or too many for memory.

    Args: pieces: file name and bytes; the pieces of one file are consecutive.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        waiting: list[tuple[str, bytes]] = []
        num_bytes = 0
        for piece in pieces:
            waiting.append(piece)
            num_bytes += len(piece[1])
            if num_bytes >= _BATCH_BYTES:
                yield pa.record_batch(_file_columns(waiting), schema=_FILES)
                waiting, num_bytes = [], 0
        if waiting:
            yield pa.record_batch(_file_columns(waiting), schema=_FILES)

    return pa.RecordBatchReader.from_batches(_FILES, batches())


def files_of(artefact: Artefact) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The files of an artefact made of such rows: name and pieces.

    The caller reads all pieces of a file before it asks for the next file.
    """
    rows = (
        row
        for batch in artefact.batches(["file", "content"])
        for row in zip(batch["file"].to_pylist(), batch["content"].to_pylist(), strict=True)
    )
    for file, of_file in groupby(rows, key=itemgetter(0)):
        yield file, (content for _, content in of_file)


def _file_columns(files: Collection[tuple[str, bytes]]) -> list[pa.Array]:
    names, contents = zip(*files, strict=True) if files else ((), ())
    return [pa.array(names, pa.string()), pa.array(contents, pa.large_binary())]
