"""Many atlases on one sheet: all layers of a run, or its class atlases or comparisons.

Memory holds the sheet, whose size is bounded, and the panel that is being drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas_pipeline.pictures.figures import with_caption
from atlas_pipeline.pictures.lettering import MUTED, canvas, one_line, place, write

Picture: TypeAlias = Callable[[], NDArray[np.uint8]]
"""A function that reads a picture when it is drawn: (height, width, 3) uint8."""

# Largest side of a sheet. Browsers are slow to open a larger one.
LARGEST_PX = 8000
# Largest number of panels per row, so that they can be read, for up to _MANY panels. More panels than that
# are small in any case.
_MAX_PER_ROW, _MANY = 3, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One atlas on the sheet.

    Attributes: atlas: a square picture. thumbnails: square pictures for the row below it, such as the density
                map and the scatter plot.
    """

    title: str
    subtitle: str
    atlas: Picture
    thumbnails: Sequence[Picture] = ()


def max_panels(panel_px: int, *, with_thumbnails: bool) -> int:
    """Number of panels of width panel_px that fit on a sheet."""
    # A single thumbnail is the highest: several share the width.
    height = _height_px(panel_px, 1 if with_thumbnails else 0)
    return max(1, _room(panel_px, panel_px) * _room(panel_px, height))


def overview(
    panels: Sequence[Panel], panel_px: int = 760, caption: str | None = None, note: str | None = None
) -> NDArray[np.uint8]:
    """The panels in rows of up to three, or more if there are many panels.

    Each panel has a title and subtitle, the atlas, and the thumbnails below it.

    Args:    panels: at most ``max_panels``. panel_px: width of a panel. caption: a warning about the whole
             sheet, see ``with_caption``. note: a line below the panels.
    Returns: (height, width, 3) uint8.
    Raises:  ValueError: no panels.
    """
    if not panels:
        raise ValueError("an overview needs at least one panel")
    gap, height = panel_px // 16, max(_height_px(panel_px, len(panel.thumbnails)) for panel in panels)
    limit = _MAX_PER_ROW if len(panels) <= _MANY else round(len(panels) ** 0.5) + 1
    limit = min(max(limit, -(-len(panels) // _room(panel_px, height))), _room(panel_px, panel_px))
    num_rows = -(-len(panels) // limit)
    # Balance the rows: four panels make two rows of two rather than three and one.
    per_row = -(-len(panels) // num_rows)
    width, bottom = gap + per_row * (panel_px + gap), gap + num_rows * (height + gap)
    sheet = canvas(width, bottom + (2 * gap if note else 0))
    for number, panel in enumerate(panels):
        row, col = divmod(number, per_row)
        sheet.paste(_drawn(panel, panel_px), (gap + col * (panel_px + gap), gap + row * (height + gap)))
    if note:
        size = panel_px / 24
        write(sheet, (gap, bottom + gap / 2), one_line(note, size, width - 2 * gap), size, MUTED)
    picture = np.asarray(sheet)
    return picture if caption is None else with_caption(picture, caption)


def _room(panel_px: int, side_px: int) -> int:
    """Number of panels with this side that fit next to each other along a sheet's side."""
    gap = panel_px // 16
    return max(1, (LARGEST_PX - 3 * gap) // (side_px + gap))


def _height_px(width: int, num_thumbnails: int) -> int:
    below = _thumbnail_px(width, num_thumbnails)
    return _head_px(width) + width + (width // 24 + below if below else 0)


def _head_px(width: int) -> int:
    return round(width / 24 * 3)


def _thumbnail_px(width: int, num_thumbnails: int) -> int:
    if not num_thumbnails:
        return 0
    return min((width - width // 24 * (num_thumbnails - 1)) // num_thumbnails, width // 2)


def _drawn(panel: Panel, width: int) -> Image.Image:
    size, gap = width / 24, width // 24
    head, side = _head_px(width), _thumbnail_px(width, len(panel.thumbnails))
    image = canvas(width, _height_px(width, len(panel.thumbnails)))
    write(image, (0, size * 0.6), one_line(panel.title, size, width), size)
    write(image, (0, size * 1.8), one_line(panel.subtitle, size * 0.62, width), size * 0.62, MUTED)
    place(image, _fitted(panel.atlas(), width), 0, head)
    for number, thumbnail in enumerate(panel.thumbnails):
        place(image, _fitted(thumbnail(), side), number * (side + gap), head + width + gap)
    return image


def _fitted(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    share = side_px / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    # reducing_gap averages by a whole factor first: Lanczos alone takes seconds for a mosaic of 12,800 px.
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
