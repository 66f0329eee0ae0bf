"""Artefact columns as arrays and back, where several stages read or write the same."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.selected import Selected

# Some row groups: of those at a block's ends a part is read in vain.
_BLOCK_ROWS = 1 << 15
# Of files at once in memory, where they are streamed.
_BATCH_BYTES = 1 << 23
_FILES = pa.schema([("file", pa.string()), ("content", pa.large_binary())])


def population(inputs: Mapping[str, Artefact]) -> Artefact:
    """The activations that a step works on: its input "sample", or of it what its input "select" chose."""
    return Selected(inputs["sample"], inputs["select"]) if "select" in inputs else inputs["sample"]


def placed_rows(
    inputs: Mapping[str, Artefact], columns: Sequence[str], start: int, stop: int
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Rows [start, stop) of a view's activations in blocks, each with its places in the layout.

    Yields: (activation, 2) float32 in the unit square, y up; and the columns asked for.
    """
    rows = population(inputs)
    for first in range(start, max(stop, start + 1), _BLOCK_ROWS):
        last = min(first + _BLOCK_ROWS, stop)
        yield layout_xy(inputs["project"].rows(first, last, ["x", "y"])), rows.rows(first, last, columns)


@dataclass(frozen=True, slots=True)
class ActivationBlocks:
    """A sample's activations (activation, channel), a part at a time, read anew at every iteration."""

    sample: Artefact

    def __iter__(self) -> Iterator[np.ndarray]:
        return (column_matrix(part, "activation") for part in self.sample.parts(["activation"]))


def layout_xy(table: pa.Table) -> np.ndarray:
    """(activation, 2) float32 in the unit square, y up, of a layout."""
    return np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])


def precision_of(artefact: Artefact) -> np.ndarray:
    """(channel, channel) float64."""
    return column_matrix(artefact.read(), "precision")


def real_crops(artefact: Artefact) -> np.ndarray:
    """(crop, side, side, 3) uint8."""
    return pixels(artefact.read(["crop"])["crop"])


def pixels(pngs: pa.ChunkedArray) -> np.ndarray:
    """A column of PNG files, all of one size -> (image, height, width, 3 or 4) uint8."""
    return np.stack([picture_of(png) for png in pngs.to_pylist()])


def picture_of(png: bytes) -> np.ndarray:
    """A PNG file -> (height, width, 3 or 4) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)))


def over_ground(images: np.ndarray, level: int) -> np.ndarray:
    """Pictures (image, height, width, 3 or 4) uint8 over an even grey -> (image, height, width, 3) uint8."""
    if images.shape[-1] == 3:
        return images
    opacity = images[..., 3:].astype(np.float32) / 255
    return np.rint(opacity * images[..., :3] + (1 - opacity) * level).astype(np.uint8)


def png_of(image: np.ndarray) -> bytes:
    """PNG of a (height, width, 3 or 4) uint8 image."""
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return png.getvalue()


def file_table(files: Mapping[str, bytes]) -> pa.Table:
    """One row a file: what a run's folder is made from."""
    return pa.table(_file_columns(files.items()), schema=_FILES)


def file_stream(pieces: Iterable[tuple[str, bytes]]) -> pa.RecordBatchReader:
    """The same of files that are too large, or too many, to be held: a row is a piece of a file.

    Args: pieces: name and bytes; those of one file follow each other.
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
    """The files of such an artefact: name and pieces; those of one are read before the next is asked for."""
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
