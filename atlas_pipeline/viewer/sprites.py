"""Sprite sheets: the pictures of many cells in one file, loaded like the tiles of a map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.mosaic import icon_sides, resized
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.viewer.scripts import ICON_QUALITY, PATCH_QUALITY, picture, script

# Cells along a side of a sheet.
SHEET = 16
# Cells along a side of a block, which the viewer loads to show the examples of one of its cells. A sheet is
# divided into whole blocks.
BLOCK = 4
# Crops of a cell: the nearest to its mean, then members from the nearest to the farthest; crops per row of
# their square arrangement.
NUM_NEAREST, NUM_RANGE, _CROPS_PER_ROW = 9, 7, 4
NUM_CROPS = NUM_NEAREST + NUM_RANGE
# Icons fade out over this share of half their side, and their corners are rounded, so that the seams between
# neighbours are soft. The border is a superellipse of this exponent. The viewer's sheets have the same edges.
_FADE, _ROUNDNESS = 0.09, 9
# Icons larger than this have a copy of this size, for a map that is zoomed out.
LOW_PX = 24
LARGEST_ICON_PX = 96
# Largest side of the overview, the picture of a whole grid that is shown first.
OVERVIEW_PX = 1280


def sheet_px(side_px: int) -> int:
    """Side of a cell's picture in a sheet; even, because WebP stores colours for pairs of pixels."""
    px = min(side_px, LARGEST_ICON_PX)
    return max(2, px - px % 2)


def sheet_files(
    name: str,
    pictures: Iterable[NDArray[np.uint8]],
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    px: int,
    quality: int = ICON_QUALITY,
) -> dict[str, bytes]:
    """The sheets of one band of cells: ``<name>-<sheet row>-<sheet col>.js``, and ``...-low.js``.

    Args: pictures: (side, side, 3) uint8 each, one per cell; may be a generator. rows, cols: (cell,), all in
          one row of sheets. px: side of a picture in the sheet.
    """
    files = {}
    large = np.empty((len(rows), px, px, 3), dtype=np.uint8)
    small = np.empty((len(rows), LOW_PX, LOW_PX, 3), dtype=np.uint8) if px > LOW_PX else None
    for cell, one in zip(range(len(rows)), pictures, strict=True):
        large[cell] = resized(one, px)
        if small is not None:
            small[cell] = resized(one, LOW_PX)
    for band, column in sorted({(int(r) // SHEET, int(c) // SHEET) for r, c in zip(rows, cols, strict=True)}):
        here = (rows // SHEET == band) & (cols // SHEET == column)
        places = rows[here] % SHEET, cols[here] % SHEET
        files[f"{name}-{band}-{column}.js"] = script(picture(sheet(large[here], *places, SHEET), quality))
        if small is not None:
            files[f"{name}-{band}-{column}-low.js"] = script(
                picture(sheet(small[here], *places, SHEET), quality)
            )
    return files


def block_files(
    crops: NDArray[np.uint8],
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    nearest: Sequence[Sequence[Any]],
    ranges: Sequence[Sequence[Any]],
) -> dict[str, bytes]:
    """``block-<block row>-<block col>.js``: the crops of each cell, four by four, and their origin.

    Args: crops: (cell, 16, side, side, 3) uint8: nine of the nearest, then seven of the range. rows, cols:
          (cell,), all in one row of blocks. nearest: for each cell, the origin of its nearest crops as [image
          id, row, column, key, label]. ranges: the same of its range, each with its cosine to the mean.
    """
    px, files = crops.shape[2], {}
    squares = crops.reshape(-1, _CROPS_PER_ROW, _CROPS_PER_ROW, px, px, 3).transpose(0, 1, 3, 2, 4, 5)
    squares = squares.reshape(-1, _CROPS_PER_ROW * px, _CROPS_PER_ROW * px, 3)
    for column in np.unique(cols // BLOCK).tolist():
        here = np.flatnonzero(cols // BLOCK == column)
        block = sheet(squares[here], rows[here] % BLOCK, cols[here] % BLOCK, BLOCK)
        files[f"block-{int(rows[0]) // BLOCK}-{column}.js"] = script(
            {
                "px": px,
                "picture": picture(block, PATCH_QUALITY),
                "at": [[int(rows[cell]), int(cols[cell])] for cell in here.tolist()],
                "cells": [nearest[cell] for cell in here.tolist()],
                "ranges": [ranges[cell] for cell in here.tolist()],
            }
        )
    return files


def sheet(
    pictures: NDArray[np.uint8], rows: NDArray[np.integer], cols: NDArray[np.integer], cells: int
) -> NDArray[np.uint8]:
    """Pictures placed in the cells of a sheet; empty cells have the background's grey level.

    Args:    pictures: (picture, side, side, 3) uint8. rows, cols: (picture,), within the sheet. cells: along
             a side of the sheet.
    Returns: (cells * side, cells * side, 3) uint8.
    """
    side = pictures.shape[1]
    filled = np.full((cells, side, cells, side, 3), PAPER, dtype=np.uint8)
    for one, row, col in zip(pictures, rows, cols, strict=True):
        filled[row, :, col] = one
    return filled.reshape(cells * side, cells * side, 3)


def overview(
    pictures: Iterable[NDArray[np.uint8]],
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    counts: NDArray[np.integer],
    grid: int,
    px: int,
    scaled: bool,
) -> NDArray[np.uint8]:
    """A picture of the whole grid, transparent outside the icons.

    Args:    pictures: (side, side, 3) uint8 each, one per cell. rows, cols, counts: (cell,). grid: cells
             along a side. px: side of a cell. scaled: size icons by density (``icon_sides``), else they fill
             their cells.
    Returns: (grid * px, grid * px, 4) uint8.
    """
    canvas = np.zeros((grid * px, grid * px, 4), dtype=np.uint8)
    sides = icon_sides(counts, px) if scaled else np.full(len(rows), px)
    for one, row, col, side in zip(pictures, rows.tolist(), cols.tolist(), sides.tolist(), strict=True):
        margin = (px - side) // 2
        top, left = row * px + margin, col * px + margin
        canvas[top : top + side, left : left + side, :3] = resized(one, side)
        canvas[top : top + side, left : left + side, 3] = soft_edges(side)
    return canvas


@cache
def soft_edges(side: int) -> NDArray[np.uint8]:
    """Opacity of an icon with rounded, fading edges: (side, side) uint8, 255 inside."""
    along = np.abs((np.arange(side) + 0.5) / side * 2 - 1) ** _ROUNDNESS
    far = np.add.outer(along, along) ** (1 / _ROUNDNESS)
    return np.rint(255 * np.clip((1 - far) / _FADE, 0, 1)).astype(np.uint8)


def overview_px(grid: int, px: int) -> int:
    """Side of a cell in the overview."""
    return max(1, min(px, OVERVIEW_PX // grid))
