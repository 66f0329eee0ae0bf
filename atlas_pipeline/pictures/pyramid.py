"""A picture as Deep Zoom tiles, which OpenSeadragon and other viewers open: `<name>.dzi`, `<name>_files/`.

Level 0 is one pixel, each level has twice the side lengths of the one below, and the last is the picture. The
picture arrives in bands from the top. All levels are made at once, with a few rows of each in memory.
Source: Deep Zoom File Format Overview, https://learn.microsoft.com/previous-versions/windows/silverlight/dotnet-windows-silverlight/cc645077(v=vs.95).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas_pipeline.pictures.ordered_map import ordered_map

TileFormat = Literal["jpg", "png", "webp"]
# A tile with its overlap is 256 pixels wide. Without an overlap, viewers show seams at fractional zooms.
TILE_PX, OVERLAP_PX = 254, 1
# JPEG has no chroma subsampling, because icons are small and colourful.
_ENCODED: dict[TileFormat, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 88, "subsampling": 0},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 85, "method": 2},
}


def dzi(width: int, height: int, tile_format: TileFormat, note: str) -> bytes:
    """The XML file that describes the tiles to a viewer.

    Args: width, height: of the picture, pixels. note: how the tiles were made, stored as an XML comment.
    """
    # Two hyphens would end the comment.
    comment = re.sub("-(?=-)", "- ", note)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<!-- {comment} -->\n"
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" '
        f'Format="{tile_format}" Overlap="{OVERLAP_PX}" TileSize="{TILE_PX}">\n'
        f'  <Size Width="{width}" Height="{height}"/>\n'
        "</Image>\n"
    ).encode()


def level_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(width, height) of each of the ceil(log2(larger side)) + 1 levels, pixels, starting with (1, 1)."""
    sizes = [(width, height)]
    while sizes[-1] != (1, 1):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes[::-1]


def tile_files(
    bands: Iterable[NDArray[np.uint8]],
    width: int,
    height: int,
    tile_format: TileFormat,
    num_threads: int = 1,
) -> Iterator[tuple[str, bytes]]:
    """The tiles of all levels as files: name `<level>/<column>_<row>.<format>` and bytes.

    A tile is yielded soon after its last row arrives.

    Args:    bands: (rows, width, 3) uint8 each, from the top. width, height: of the picture, pixels.
             num_threads: threads that encode; the tiles and their order do not depend on it.
    Raises:  ValueError: bands that do not add up to the picture.
    """

    def encoded(tile: Tile) -> tuple[str, bytes]:
        file = io.BytesIO()
        Image.fromarray(tile.pixels).save(file, **_ENCODED[tile_format])
        return f"{tile.level}/{tile.col}_{tile.row}.{tile_format}", file.getvalue()

    return ordered_map(encoded, tiles(bands, width, height), num_threads)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile: its level, column and row, and its pixels (height, width, 3) uint8 with the overlap."""

    level: int
    col: int
    row: int
    pixels: NDArray[np.uint8]


def tiles(bands: Iterable[NDArray[np.uint8]], width: int, height: int) -> Iterator[Tile]:
    """The tiles of all levels, each as soon as its rows have arrived; arguments as for ``tile_files``."""
    levels: list[_Level] = []
    for number, size in enumerate(level_sizes(width, height)):
        levels.append(_Level(number, *size, below=levels[-1] if levels else None))
    for band in bands:
        if band.shape[1:] != (width, 3):
            raise ValueError(f"a band has shape {band.shape}; the picture is {width} pixels wide")
        yield from levels[-1].add(band)
    if levels[-1].num_rows != height:
        raise ValueError(f"the bands have {levels[-1].num_rows} rows of pixels, the picture {height}")


class _Level:
    """One level of the pyramid: cuts its rows into tiles, and passes them at half size to the level below."""

    def __init__(self, number: int, width: int, height: int, below: _Level | None) -> None:
        self.num_rows = 0
        self._number, self._width, self._height, self._below = number, width, height, below
        # _rows are needed for tiles to come. _unpaired is the last row if it still lacks the row to be
        # averaged with.
        self._rows = self._unpaired = np.empty((0, width, 3), np.uint8)
        self._tile_row = 0

    def add(self, rows: NDArray[np.uint8]) -> Iterator[Tile]:
        """Take the next rows from the top, (row, width, 3); yield the tiles that this completes."""
        self._rows = np.concatenate([self._rows, rows])
        self.num_rows += len(rows)
        yield from self._finished_tiles()
        if self._below is not None:
            yield from self._below.add(self._halved(rows))

    def _finished_tiles(self) -> Iterator[Tile]:
        while self._tile_row * TILE_PX < self._height:
            top, bottom = _extent(self._tile_row, self._height)
            if bottom > self.num_rows:
                return
            first = self.num_rows - len(self._rows)
            strip = self._rows[top - first : bottom - first]
            for col in range(-(-self._width // TILE_PX)):
                left, right = _extent(col, self._width)
                yield Tile(self._number, col, self._tile_row, strip[:, left:right])
            self._tile_row += 1
            # The next tile row begins with the overlap. The copy frees the rows before it.
            keep_from = min(_extent(self._tile_row, self._height)[0], self.num_rows)
            self._rows = self._rows[keep_from - first :].copy()

    def _halved(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows = np.concatenate([self._unpaired, rows])
        # If the number of rows is odd, the last row is paired with itself; the same holds for columns.
        is_last = self.num_rows == self._height
        whole = len(rows) if is_last else len(rows) // 2 * 2
        self._unpaired = rows[whole:].copy()
        odd = ((0, whole % 2), (0, self._width % 2), (0, 0))
        return _mean_of_four(np.pad(rows[:whole], odd, mode="edge"))


def _extent(index: int, length: int) -> tuple[int, int]:
    """First pixel of a tile and the one after its last, along one side, including the overlap."""
    return max(0, index * TILE_PX - OVERLAP_PX), min(length, (index + 1) * TILE_PX + OVERLAP_PX)


def _mean_of_four(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 2 x 2 pixels: (2 h, 2 w, 3) -> (h, w, 3), rounded to nearest, halves up."""
    total = rows[::2, ::2].astype(np.uint16)
    for down, right in ((0, 1), (1, 0), (1, 1)):
        total += rows[down::2, right::2]
    return ((total + 2) // 4).astype(np.uint8)
