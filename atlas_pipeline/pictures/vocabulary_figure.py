"""The vocabulary of a class: per layer, a strip of the icons with the largest shares of its attribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.pictures.lettering import INK, MUTED, canvas, one_line, place, write

_TRACK, _RULE = (232, 232, 235), (228, 228, 228)
# In a narrower picture the text would not fit.
_MIN_WIDTH_PX = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The strip of one layer.

    Attributes: title: the layer. subtitle: how much of the class's attribution the icons cover, or why there
                are none. icons: (icon, side, side, 3) uint8, largest share first. shares: one per icon, in
                [0, 1].
    """

    title: str
    subtitle: str
    icons: NDArray[np.uint8]
    shares: Sequence[float]


def vocabulary_figure(
    title: str, subtitle: str, strips: Sequence[Strip], tile_px: int = 112
) -> NDArray[np.uint8]:
    """The strips from top to bottom, with the share of each icon below it as a bar and as text.

    A full bar stands for all of the class's attribution.

    Args:    tile_px: side of an icon in the figure.
    Returns: (height, width, 3) uint8, as wide as the longest strip.
    """
    size, gap = tile_px / 6.2, round(tile_px / 12)
    most = max((len(strip.shares) for strip in strips), default=0)
    margin = 2 * gap
    width = max(_MIN_WIDTH_PX, 2 * margin + most * (tile_px + gap) - gap)
    rows = [_heading(width, margin, size, title, subtitle)]
    rows += [_drawn(strip, width, margin, size, gap, tile_px) for strip in strips]
    return np.concatenate([np.asarray(row) for row in rows])


def share_text(share: float) -> str:
    """A share as text, such as ``12 %``. Shares that only round to 0 or 100 % are ``< 1 %`` or ``> 99 %``."""
    if 0 < share < 0.005:
        return "< 1 %"
    # Compare with slightly less than 1: a share of everything is a sum, which may be off by rounding.
    if 0.995 <= share < 1 - 1e-9:
        return "> 99 %"
    return f"{share:.0%}".replace("%", " %")


def _heading(width: int, margin: int, size: float, title: str, subtitle: str) -> Image.Image:
    image = canvas(width, round(size * 4.6))
    room = width - 2 * margin
    write(image, (margin, size * 1.7), one_line(title, size * 1.6, room), size * 1.6)
    write(image, (margin, size * 3.5), one_line(subtitle, size * 0.82, room), size * 0.82, MUTED)
    return image


def _drawn(strip: Strip, width: int, margin: int, size: float, gap: int, tile: int) -> Image.Image:
    top, bar = round(size * 3.1), max(2, round(size * 0.22))
    image = canvas(width, top + (round(tile + size * 2.9) if strip.shares else round(size)))
    draw = ImageDraw.Draw(image)
    draw.line((margin, round(size * 0.5), width - margin, round(size * 0.5)), fill=_RULE)
    title = one_line(strip.title, size * 1.1, width * 0.4)
    write(image, (margin, size * 1.9), title, size * 1.1)
    right = width - margin
    write(
        image,
        (right, size * 1.9),
        one_line(strip.subtitle, size * 0.82, width * 0.55),
        size * 0.82,
        MUTED,
        "right",
    )
    for number, (icon, share) in enumerate(zip(strip.icons, strip.shares, strict=True)):
        left = margin + number * (tile + gap)
        place(image, resized(icon, tile), left, top)
        below = top + tile + round(size * 0.4)
        draw.rectangle((left, below, left + tile - 1, below + bar - 1), fill=_TRACK)
        full = max(1, round(share * tile))
        draw.rectangle((left, below, left + full - 1, below + bar - 1), fill=INK)
        write(
            image, (left + tile / 2, below + bar + size * 0.75), share_text(share), size * 0.82, INK, "middle"
        )
    return image
