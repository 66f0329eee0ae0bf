"""Icons into one picture: each in its cell, as large as its cell is dense.

Rows count from the top and columns from the left, as ``numerics.grid`` hands them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Scale = Literal["density", "full"]

# Of the median count: a cell this full, and any fuller one, fills its square.
FULL_AT_MEDIAN_SHARE = 0.5
# Of the cell's side: below this an icon is a dot that shows nothing.
SMALLEST_SIDE = 0.25
# From here on it fills the cell: the gap left would be a hairline, which reads as a flaw.
CLOSED_FROM_SIDE = 0.9
# 320 cells of 96 px: what 102,400 icons need to be seen as they were made.
LARGEST_PICTURE_PX = 30_720


def icon_sides(counts: ArrayLike, icon_px: int) -> NDArray[np.int64]:
    """Side of each icon, so that its area is proportional to its cell's count until the cell is full.

    ``side = icon_px * min(1, sqrt(count / reference))`` with the reference at half the median count
    of the cells shown. The original takes the mean in the median's place, with a slider for its
    weight: one crowded clump then shrinks everything else, and the finer the grid the worse. Half the
    median leaves dense ground without gaps at every grid size, and only what is thin against the
    typical cell shrinks.

    Args:    counts: (cell,), activations in each cell, > 0. icon_px: side of a cell, pixels.
    Returns: (cell,) pixels, from a quarter of ``icon_px`` to ``icon_px``, of ``icon_px``'s parity, so
             that an icon stands in the very centre of its cell.
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
    """The atlas picture: every icon centred in its cell, the rest background.

    An icon already ``icon_px`` wide at full size is copied bit by bit; any other size is resampled
    with a Lanczos filter, icon by icon: beyond the picture itself the memory is that of one icon.

    Args:    icons: (cell, side, side, 3). rows, cols: (cell,), 0 <= . < grid_size, row 0 on top, no
             cell twice. counts: (cell,), activations in each cell. icon_px: side of a cell, pixels.
             scale: "density" (see ``icon_sides``) or "full": every icon fills its cell.
    Returns: (grid_size * icon_px, grid_size * icon_px, 3) uint8.
    Raises:  ValueError: shapes that do not go together, a cell outside the grid or given twice.
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
    """Some rows of the grid of the same picture: for one that is too large to be made at once.

    Args:    icons, rows, cols: of the cells in those rows alone. sides: (cell,) of them, pixels, see
             ``drawn_sides``: they follow from the counts of all cells. grid_rows: consecutive.
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
    """Side of each icon in the picture, (cell,) pixels, as ``scale`` asks."""
    return icon_sides(counts, icon_px) if scale == "density" else np.full(len(np.asarray(counts)), icon_px)


def resized(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A square picture at another side length, antialiased.

    Args:    picture: (side, side, 3). side_px: pixels.
    Returns: (side_px, side_px, 3) uint8; the very array where the side is right already.
    """
    if picture.shape[0] == side_px:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.LANCZOS))


def icon_px_within(grid_size: int, icon_px: int, largest_px: int = LARGEST_PICTURE_PX) -> int:
    """The largest icon side up to ``icon_px`` whose mosaic is no wider than ``largest_px``; at least 1."""
    return max(1, min(icon_px, largest_px // grid_size))


def _check(
    icons: NDArray[np.uint8],
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    counts: NDArray[np.int64],
    grid_size: int,
) -> None:
    if icons.ndim != 4 or icons.shape[1] != icons.shape[2] or icons.shape[3] != 3:
        raise ValueError(f"icons have shape {icons.shape}; wanted (cell, side, side, 3)")
    if not len(icons) == len(row) == len(col) == len(counts):
        lengths = f"{len(icons)} icons, {len(row)} rows, {len(col)} columns, {len(counts)} counts"
        raise ValueError(f"{lengths}: each cell has one of each")
    if len(icons) == 0:
        return
    if min(row.min(), col.min()) < 0 or max(row.max(), col.max()) >= grid_size:
        raise ValueError(f"a cell lies outside the grid of {grid_size} x {grid_size}")
    if len(np.unique(row * grid_size + col)) != len(row):
        raise ValueError("a cell is given twice")
