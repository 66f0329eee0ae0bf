"""Combines icons into one picture: each icon in its cell, with a size that shows the cell's density.

Rows count from the top and columns from the left, as in ``numerics.grid``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Scale = Literal["density", "full"]

# Share of the median count from which an icon fills its cell.
FULL_AT_MEDIAN_SHARE = 0.5
# Smallest share of the cell's side: a smaller icon would be an unreadable dot.
SMALLEST_SIDE = 0.25
# Share of the cell's side from which an icon fills the cell: a thin gap would look like a flaw.
CLOSED_FROM_SIDE = 0.9
# 320 cells of 96 px: the size at which 102,400 icons are shown at full resolution.
LARGEST_PICTURE_PX = 30_720


def icon_sides(counts: ArrayLike, icon_px: int) -> NDArray[np.int64]:
    """Side of each icon; its area is proportional to its cell's count until the icon fills the cell.

    ``side = icon_px * min(1, sqrt(count / reference))``, where the reference is half the median count of the
    shown cells. The original uses the mean and a slider for its weight; there, one dense cluster shrinks all
    other icons, and the more so the finer the grid. With half the median, dense areas have no gaps at any
    grid size, and only cells that are sparse compared to the median shrink.

    Args:    counts: (cell,), activations in each cell, > 0. icon_px: side of a cell, pixels.
    Returns: (cell,) int64 pixels, from a quarter of ``icon_px`` to ``icon_px``, with the parity of
             ``icon_px`` so that an icon is exactly centred in its cell.
    Raises:  ValueError: a count below 1.
    """
    number = np.asarray(counts, dtype=np.float64)
    if number.size == 0:
        return np.zeros(0, dtype=np.int64)
    if number.min() < 1:
        raise ValueError(f"a cell with an icon has a count of {number.min():g}; counts start at 1")
    reference = FULL_AT_MEDIAN_SHARE * np.median(number)
    share = np.clip(np.sqrt(number / reference), SMALLEST_SIDE, 1)
    share[share >= CLOSED_FROM_SIDE] = 1
    margin = np.rint(icon_px * (1 - share) / 2).astype(np.int64)
    return np.maximum(icon_px - 2 * margin, min(icon_px, 1))


def mosaic(
    icons: NDArray[np.uint8],
    rows: ArrayLike,
    cols: ArrayLike,
    counts: ArrayLike,
    grid_size: int,
    icon_px: int,
    scale: Scale = "density",
    background: int = 255,
) -> NDArray[np.uint8]:
    """Draw the atlas picture: every icon centred in its cell, on a uniform background.

    An icon that is already ``icon_px`` wide at full size is copied unchanged. Any other size is resampled
    with a Lanczos filter, one icon at a time, so that the memory is that of the picture and one icon.

    Args:    icons: (cell, side, side, 3). rows, cols: (cell,), 0 to grid_size - 1, row 0 is the top, cells
             unique. counts: (cell,), activations in each cell. icon_px: side of a cell, pixels.
             scale: "density" (see ``icon_sides``) or "full" (every icon fills its cell).
    Returns: (grid_size * icon_px, grid_size * icon_px, 3) uint8.
    Raises:  ValueError: shapes do not match, or a cell is outside the grid or repeated.
    """
    row, col = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
    _check(icons, row, col, np.asarray(counts), grid_size)
    side = drawn_sides(counts, icon_px, scale)
    return mosaic_band(icons, row, col, side, grid_size, icon_px, range(grid_size), background)


def mosaic_band(
    icons: Iterable[NDArray[np.uint8]],
    rows: ArrayLike,
    cols: ArrayLike,
    sides: NDArray[np.int64],
    grid_size: int,
    icon_px: int,
    grid_rows: range,
    background: int = 255,
) -> NDArray[np.uint8]:
    """Draw some grid rows of the atlas picture, for pictures that are too large to draw at once.

    Args:    icons, rows, cols: only of the cells in those rows. sides: (cell,) pixels, from ``drawn_sides``
             of all cells. grid_rows: consecutive.
    Returns: (len(grid_rows) * icon_px, grid_size * icon_px, 3) uint8.
    """
    row, col = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
    picture = np.full((len(grid_rows) * icon_px, grid_size * icon_px, 3), background, dtype=np.uint8)
    margin = (icon_px - sides) // 2
    top, left = (row - grid_rows.start) * icon_px + margin, col * icon_px + margin
    for icon, y, x, length in zip(icons, top.tolist(), left.tolist(), sides.tolist(), strict=True):
        picture[y : y + length, x : x + length] = resized(icon, length)
    return picture


def drawn_sides(counts: ArrayLike, icon_px: int, scale: Scale) -> NDArray[np.int64]:
    """Side of each icon in the picture for the given ``scale``: (cell,) pixels."""
    return icon_sides(counts, icon_px) if scale == "density" else np.full(len(np.asarray(counts)), icon_px)


def resized(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resize a square picture, with antialiasing.

    Args:    picture: (side, side, 3). side_px: pixels.
    Returns: (side_px, side_px, 3) uint8; the input array itself if its side is already right.
    """
    if picture.shape[0] == side_px:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.LANCZOS))


def icon_px_within(grid_size: int, icon_px: int, largest_px: int = LARGEST_PICTURE_PX) -> int:
    """The largest icon side up to ``icon_px`` whose mosaic is at most ``largest_px`` wide; at least 1."""
    return max(1, min(icon_px, largest_px // grid_size))


def _check(
    icons: NDArray[np.uint8],
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    counts: NDArray[np.int64],
    grid_size: int,
) -> None:
    if icons.ndim != 4 or icons.shape[1] != icons.shape[2] or icons.shape[3] != 3:
        raise ValueError(f"icons have shape {icons.shape}; expected (cell, side, side, 3)")
    if not len(icons) == len(row) == len(col) == len(counts):
        lengths = f"{len(icons)} icons, {len(row)} rows, {len(col)} columns, {len(counts)} counts"
        raise ValueError(f"{lengths}; each cell has one of each")
    if len(icons) == 0:
        return
    if min(row.min(), col.min()) < 0 or max(row.max(), col.max()) >= grid_size:
        raise ValueError(f"a cell lies outside the grid of {grid_size} x {grid_size}")
    if len(np.unique(row * grid_size + col)) != len(row):
        raise ValueError("a cell is given twice; give each cell one icon")
