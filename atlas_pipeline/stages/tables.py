"""Artefact columns as arrays and back, where several stages read or write the same."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.selected import Selected

# Some row groups: of those at a block's ends a part is read in vain.
_BLOCK_ROWS = 1 << 15


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


def activations(sample: Artefact) -> np.ndarray:
    """(activation, channel) float32 of a whole sample: rows x channels x 4 bytes of memory."""
    matrix, start = np.empty((0, 0), np.float32), 0
    for block in ActivationBlocks(sample):
        if not matrix.size:
            matrix = np.empty((sample.num_rows, block.shape[1]), np.float32)
        matrix[start : start + len(block)] = block
        start += len(block)
    return matrix


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
    return pa.table(
        {"file": pa.array(files, pa.string()), "content": pa.array(files.values(), pa.large_binary())}
    )
