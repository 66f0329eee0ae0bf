"""All layers of a run on one sheet: fit for a README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas_pipeline.viewer.figures import with_caption
from atlas_pipeline.viewer.lettering import MUTED, canvas, one_line, place, write

# Panels a row: more would be too small to read. Many are small in any case.
_MOST_IN_A_ROW, _MANY = 3, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One layer on the sheet.

    Attributes: atlas: (side, side, 3) uint8. thumbnails: square pictures for the row below it, such as
                the density map and the scatter plot.
    """

    title: str
    subtitle: str
    atlas: NDArray[np.uint8]
    thumbnails: Sequence[NDArray[np.uint8]] = ()


def overview(panels: Sequence[Panel], panel_px: int = 760, caption: str | None = None) -> NDArray[np.uint8]:
    """The panels in rows of up to three, more where they are many: title, atlas, thumbnails beneath.

    Args:    panel_px: width of a panel. caption: a warning for all of it, see ``with_caption``.
    Returns: (height, width, 3) uint8.
    Raises:  ValueError: no panels.
    """
    if not panels:
        raise ValueError("an overview needs at least one panel")
    # Four make two rows of two rather than three and one.
    most = _MOST_IN_A_ROW if len(panels) <= _MANY else round(len(panels) ** 0.5) + 1
    num_rows = -(-len(panels) // most)
    in_a_row = -(-len(panels) // num_rows)
    gap, drawn = panel_px // 16, [np.asarray(_drawn(panel, panel_px)) for panel in panels]
    height = max(len(panel) for panel in drawn)
    sheet = canvas(gap + in_a_row * (panel_px + gap), gap + num_rows * (height + gap))
    for number, panel in enumerate(drawn):
        row, col = divmod(number, in_a_row)
        place(sheet, panel, gap + col * (panel_px + gap), gap + row * (height + gap))
    picture = np.asarray(sheet)
    return picture if caption is None else with_caption(picture, caption)


def _drawn(panel: Panel, width: int) -> Image.Image:
    size, gap = width / 24, width // 24
    head = round(size * 3)
    below = (width - gap * (len(panel.thumbnails) - 1)) // len(panel.thumbnails) if panel.thumbnails else 0
    image = canvas(width, head + width + (gap + min(below, width // 2) if below else 0))
    write(image, (0, size * 0.6), one_line(panel.title, size, width), size)
    write(image, (0, size * 1.8), one_line(panel.subtitle, size * 0.62, width), size * 0.62, MUTED)
    place(image, _fitted(panel.atlas, width), 0, head)
    for number, thumbnail in enumerate(panel.thumbnails):
        side = min(below, width // 2)
        place(image, _fitted(thumbnail, side), number * (side + gap), head + width + gap)
    return image


def _fitted(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    share = side_px / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    # reducing_gap: whole-number averaging first, as Lanczos alone takes seconds over a 12,800 px mosaic.
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
