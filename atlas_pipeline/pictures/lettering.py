"""Text in pictures: Pillow's own typeface, at any size, the same on every machine.

It has the letters of English alone. Accents are dropped (é: e), a few signs replaced (×: x), and what
has no like is left out: pictures keep to plain words, the page and the JSON carry the names as they are.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

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
_LIKE = str.maketrans(
    {
        "×": "x",
        "–": "-",
        "—": "-",
        "‐": "-",
        "·": "-",
        "ß": "ss",
        "æ": "ae",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "µ": "u",
    }
)


def plain(text: str) -> str:
    """The text on one line, in the characters that the typeface has."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_LIKE))
    return " ".join("".join(c for c in decomposed if c.isspace() or " " <= c <= "~" or c in "‘’“”…").split())


def width_px(text: str, size_px: float) -> float:
    """Width of a line of plain text."""
    return float(_font(size_px).getlength(text)) / _times(size_px)


def one_line(text: str, size_px: float, room_px: float) -> str:
    """The text made plain, cut with an ellipsis where it is wider than ``room_px``."""
    line = plain(text)
    if width_px(line, size_px) <= room_px:
        return line
    while line and width_px(line + "…", size_px) > room_px:
        line = line[:-1].rstrip()
    return line + "…"


def wrapped(text: str, size_px: float, room_px: float) -> list[str]:
    """The text made plain, in lines no wider than ``room_px``, broken between words; a longer word is cut."""
    lines = [""]
    for word in plain(text).split():
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
    start = ((room + left % 1) * times, (room + top % 1) * times)
    ImageDraw.Draw(letters).text(start, line, fill=255, font=_font(size_px), anchor="lm")
    mask = letters.resize((width, 2 * room), Image.Resampling.BOX)
    image.paste(Image.new("RGB", mask.size, colour), (int(left // 1), int(top // 1)), mask)


def canvas(width_px: int, height_px: int, colour: Colour = WHITE) -> Image.Image:
    """An empty picture."""
    return Image.new("RGB", (width_px, height_px), colour)


def place(image: Image.Image, picture: NDArray[np.uint8], left: int, top: int) -> None:
    """Put (height, width, 3) uint8 onto the image."""
    image.paste(Image.fromarray(picture), (left, top))


@lru_cache(maxsize=64)
def _font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size_px * _times(size_px))


def _times(size_px: float) -> int:
    return _OVERSAMPLED if size_px < _LARGE_PX else 1
