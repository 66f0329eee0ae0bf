"""A layer atlas with one class highlighted: attribution sets the opacity of the icons, with a logit scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ImageDraw

from atlas_pipeline.numerics.mosaic import Scale, drawn_sides, mosaic, resized
from atlas_pipeline.pictures.lettering import INK, MUTED, canvas, one_line, place, write

# Grey levels of a cell of opacity 0: slightly darker than the paper, with an edge. The shape of the map
# remains visible without competing with the highlighted cells.
GROUND, EDGE = 246, 228
# In a narrower picture the text below would not fit. A wider one is slow to open in browsers.
MIN_WIDTH_PX, MAX_WIDTH_PX = 960, 8000
_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def highlight_figure(
    icons: NDArray[np.uint8],
    rows: ArrayLike,
    cols: ArrayLike,
    counts: ArrayLike,
    opacity: ArrayLike,
    *,
    grid_size: int,
    icon_px: int,
    scale: Scale,
    title: str,
    subtitle: str,
    strongest: float,
) -> NDArray[np.uint8]:
    """The atlas picture with faded icons, above a strip with the text and the opacity scale.

    Args:    icons: (cell, side, side, 3) uint8. rows, cols, counts: (cell,), see ``mosaic``. opacity:
             (cell,) in [0, 1]; a cell of opacity 0 is an empty frame. icon_px: side of a cell, pixels; see
             ``cell_px`` for how it is adapted. strongest: attribution of opacity 1, logits, signed; 0:
             nothing is highlighted, and there is no scale.
    Returns: (height, width, 3) uint8.
    """
    shown = np.asarray(opacity, dtype=np.float64)
    side = cell_px(grid_size, icon_px)
    faded = np.empty_like(icons)
    for cell, amount in enumerate(shown.tolist()):
        faded[cell] = over_cell(icons[cell], amount)
    picture = mosaic(faded, rows, cols, counts, grid_size, side, scale)
    _frame(picture, np.asarray(rows), np.asarray(cols), drawn_sides(counts, side, scale), shown, side)
    best = icons[int(shown.argmax())] if strongest else None
    return np.concatenate([picture, _strip(picture.shape[1], title, subtitle, best, strongest)])


def cell_px(grid_size: int, icon_px: int) -> int:
    """Side of a cell in pixels: a multiple of icon_px so that the text below fits, but at most the widest."""
    times = max(1, math.ceil(MIN_WIDTH_PX / (grid_size * icon_px)))
    return max(1, min(icon_px * times, MAX_WIDTH_PX // grid_size))


def over_cell(icon: NDArray[np.uint8], opacity: float) -> NDArray[np.uint8]:
    """An icon of any shape, uint8, blended with the background of a cell at an opacity in [0, 1]."""
    return np.rint(opacity * icon.astype(np.float32) + (1 - opacity) * GROUND).astype(np.uint8)


def ticks_text(values: Sequence[float]) -> list[str]:
    """Numbers as text, all with the decimals that the largest needs for two digits; zero is a plain 0."""
    largest = max((abs(value) for value in values), default=0.0)
    decimals = max(0, 1 - math.floor(math.log10(largest))) if largest > 0 else 0
    if decimals > 5:
        return [f"{value:.1e}" if value else "0" for value in values]
    return [f"{value:.{decimals}f}" if value else "0" for value in values]


def _frame(
    picture: NDArray[np.uint8],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    sides: NDArray[np.int64],
    opacity: NDArray[np.float64],
    cell_side: int,
) -> None:
    """Draw an edge around every icon, in place; it is fainter the more opaque the icon is."""
    margin = (cell_side - sides) // 2
    corners = np.stack([rows * cell_side + margin, cols * cell_side + margin, sides], axis=1)
    for (top, left, side), shown in zip(corners.tolist(), opacity.tolist(), strict=True):
        icon = picture[top : top + side, left : left + side]
        for edge in (icon[0], icon[-1], icon[:, 0], icon[:, -1]):
            edge[:] = np.rint(shown * edge.astype(np.float32) + (1 - shown) * EDGE)


def _strip(
    width: int, title: str, subtitle: str, best: NDArray[np.uint8] | None, strongest: float
) -> NDArray[np.uint8]:
    """The strip below the picture: text at the left; at the right the opacity scale, with the best icon."""
    size = width / 48
    margin, side, top = round(size * 0.6), round(size * 2.6), round(size * 1.75)
    image = canvas(width, round(size * 6))
    draw = ImageDraw.Draw(image)
    draw.line((0, round(size), width, round(size)), fill=(EDGE,) * 3, width=max(1, round(size / 16)))
    left = width - margin
    if best is not None:
        left -= len(_STOPS) * side
        for stop, text in zip(_STOPS, ticks_text([stop * strongest for stop in _STOPS]), strict=True):
            x = left + round(stop * (len(_STOPS) - 1)) * side
            place(image, over_cell(resized(best, side), stop), x, top)
            draw.rectangle((x, top, x + side - 1, top + side - 1), outline=(EDGE,) * 3)
            write(image, (x + side / 2, top + side + size * 0.65), text, size * 0.72, INK, "middle")
    room = left - 2.5 * margin
    for text, height, letters, colour in ((title, 0.8, 1.35, INK), (subtitle, 2.4, 0.72, MUTED)):
        write(
            image,
            (margin, top + size * height),
            one_line(text, size * letters, room),
            size * letters,
            colour,
        )
    return np.asarray(image)
