"""Letters of a figure: how wide text is in print, and where it breaks. Lengths in mm, sizes in points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from atlas_pipeline.pictures.lettering import words_of
from atlas_pipeline.pictures.typefaces import families, file_of_letter

MM_PER_POINT = 25.4 / 72
# Distance between two lines of a paragraph, as a multiple of the font size.
LEADING = 1.32


def one_line(text: str) -> str:
    """The text without line breaks, without what cannot be printed or has no letter in any typeface here."""
    known = file_of_letter()
    return " ".join(
        "".join(c if c.isspace() or (c.isprintable() and ord(c) in known) else "" for c in text).split()
    )


@lru_cache(maxsize=4096)
def text_width(text: str, points: float, bold: bool = False) -> float:
    """Width of a line in print, mm."""
    font = FontProperties(family=families(), weight="bold" if bold else "normal", size=points)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) * MM_PER_POINT


def line_height(points: float) -> float:
    """From one line to the next, mm."""
    return points * MM_PER_POINT * LEADING


def fitted(text: str, points: float, room: float, bold: bool = False) -> str:
    """The text on one line, cut with an ellipsis where it is wider than ``room`` mm."""
    line = one_line(text)
    if text_width(line, points, bold) <= room:
        return line
    while line and text_width(line + "…", points, bold) > room:
        line = line[:-1].rstrip()
    return line + "…"


def first_fitting(texts: Sequence[str], points: float, room: float) -> str:
    """The first text that is no wider than ``room`` mm; the last, cut, where none is."""
    return next((text for text in texts if text_width(text, points) <= room), fitted(texts[-1], points, room))


def wrapped(text: str, points: float, room: float, most: int | None = None, bold: bool = False) -> list[str]:
    """The text in lines no wider than ``room`` mm, broken between words.

    Args: most: lines at most; what is left over is cut with an ellipsis, as is a word wider than a line.
    """
    words, lines = words_of(one_line(text)), [""]
    for number, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, points, bold) <= room or not lines[-1]:
            lines[-1] = longer
        elif len(lines) == most:
            lines[-1] = " ".join([lines[-1], *words[number:]])
            break
        else:
            lines.append(word)
    return [fitted(line, points, room, bold) for line in lines]
