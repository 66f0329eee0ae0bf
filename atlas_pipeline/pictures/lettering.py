"""Text in pictures, in the typefaces of the figures for print, at any size.

A letter that no typeface here has is replaced by its like in English, or left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atlas_pipeline.pictures.typefaces import file_of_letter, is_own, own_file

Colour = tuple[int, int, int]
INK: Colour = (28, 28, 32)
MUTED: Colour = (108, 108, 116)
ALARM: Colour = (176, 24, 32)
WHITE: Colour = (255, 255, 255)

# Letters are drawn this many times larger and averaged: at its own size Pillow rounds every letter's
# width to whole pixels, and words run into each other.
_OVERSAMPLED = 4
# From this size on a whole pixel is nothing, and sixteen times the pixels are a lot.
_LARGE_PX = 300
# DejaVu Sans has tall small letters and is wide; at this share of the size it looks like other typefaces.
_OWN_SHARE = 0.875


def plain(text: str) -> str:
    """The text on one line, in the characters that can be drawn."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(c if c.isspace() else _drawable(c) for c in composed).split())


def _drawable(character: str) -> str:
    if is_own(character) or (character.isprintable() and ord(character) in file_of_letter()):
        return character
    return "".join(c for c in unicodedata.normalize("NFKD", character) if is_own(c))


def width_px(text: str, size_px: float) -> float:
    """Width of a line of plain text."""
    return float(sum(font.getlength(part) for part, font in _parts(text, size_px))) / _times(size_px)


def _parts(line: str, size_px: float) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """The line cut where the typeface changes, and the font of each part."""
    for file, part in groupby(
        line, lambda c: own_file() if is_own(c) else file_of_letter().get(ord(c), own_file())
    ):
        yield "".join(part), _font(size_px, file)


def one_line(text: str, size_px: float, room_px: float) -> str:
    """The text made plain, cut with an ellipsis where it is wider than ``room_px``."""
    line = plain(text)
    if width_px(line, size_px) <= room_px:
        return line
    while line and width_px(line + "…", size_px) > room_px:
        line = line[:-1].rstrip()
    return line + "…"


def words_of(line: str) -> list[str]:
    """The words between which a line may be broken. The size of a grid is one of them.

    >>> words_of("a grid of 16 × 16 cells")
    ['a', 'grid', 'of', '16 × 16', 'cells']
    """
    return re.split("(?<!×) (?!×)", line)


def signed(value: float) -> str:
    """A number on a two-sided scale, in two digits.

    >>> [signed(value) for value in (-0.421, 0.0, 12.0)]
    ['−0.42', '0', '+12']
    """
    return f"{value:+.2g}".replace("-", "−") if abs(value) > 1e-9 else "0"


def wrapped(text: str, size_px: float, room_px: float) -> list[str]:
    """The text made plain, in lines no wider than ``room_px``, broken between words; a longer word is cut."""
    lines = [""]
    for word in words_of(plain(text)):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_px(longer, size_px) > room_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return [one_line(line, size_px, room_px) for line in lines]


def write(
    image: Image.Image,
    xy: tuple[float, float],
    text: str,
    size_px: float,
    colour: Colour = INK,
    align: str = "left",
) -> None:
    """Write one plain line onto the image.

    Args: xy: pixels; the line's middle height, and its left end, middle or right end as ``align`` says
          ("left", "middle", "right").
    """
    shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
    room, line, times = int(np.ceil(size_px)), plain(text), _times(size_px)
    width = int(np.ceil(width_px(line, size_px))) + 2 * room
    left = xy[0] - shift * width_px(line, size_px) - room
    top = xy[1] - room
    letters = Image.new("L", (width * times, 2 * room * times), 0)
    # The fraction of a pixel goes into the letters, the whole ones into where they are pasted.
    x, y = (room + left % 1) * times, (room + top % 1) * times
    draw, anchor = ImageDraw.Draw(letters), "lm"
    if not all(map(is_own, line)):
        # Other typefaces stand on our own one's baseline.
        ascent, descent = _font(size_px, own_file()).getmetrics()
        y, anchor = y + (ascent - descent) / 2, "ls"
    for part, font in _parts(line, size_px):
        draw.text((x, y), part, fill=255, font=font, anchor=anchor)
        x += font.getlength(part)
    mask = letters.resize((width, 2 * room), Image.Resampling.BOX)
    image.paste(Image.new("RGB", mask.size, colour), (int(left // 1), int(top // 1)), mask)


def canvas(width_px: int, height_px: int, colour: Colour = WHITE) -> Image.Image:
    """An empty picture."""
    return Image.new("RGB", (width_px, height_px), colour)


def place(image: Image.Image, picture: NDArray[np.uint8], left: int, top: int) -> None:
    """Put (height, width, 3) uint8 onto the image."""
    image.paste(Image.fromarray(picture), (left, top))


@lru_cache(maxsize=64)
def _font(size_px: float, file: str) -> ImageFont.FreeTypeFont:
    """The typeface of a file, as large as text of this size is drawn."""
    share = _OWN_SHARE if file == own_file() else 1.0
    return ImageFont.truetype(file, size_px * _times(size_px) * share)


def _times(size_px: float) -> int:
    return _OVERSAMPLED if size_px < _LARGE_PX else 1
