"""Letters of a figure: how wide text is in print, and where it breaks. Lengths in mm, sizes in points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

MM_PER_POINT = 25.4 / 72
# Of the size: from one line of a paragraph to the next.
LEADING = 1.32
# matplotlib's own typeface, in every wheel: the same figure on every machine. The others are for letters
# that it lacks, where they are installed.
OWN_FAMILY = "DejaVu Sans"
_FOR_OTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Thai", "Droid Sans Fallback", "Hiragino Sans", "Microsoft YaHei",
)  # fmt: skip


@cache
def families() -> list[str]:
    """The typefaces to draw with, the first that has a letter draws it."""
    installed = set(font_manager.fontManager.get_font_names())
    return [OWN_FAMILY, *(name for name in _FOR_OTHER_SCRIPTS if name in installed)]


def one_line(text: str) -> str:
    """The text without line breaks, without what cannot be printed or has no letter in any typeface here."""
    known = _letters()
    return " ".join(
        "".join(c if c.isspace() or (c.isprintable() and ord(c) in known) else "" for c in text).split()
    )


@cache
def _letters() -> frozenset[int]:
    """The code points that can be drawn."""
    fonts = (font_manager.get_font(font_manager.findfont(FontProperties(family=name))) for name in families())
    return frozenset(code for font in fonts for code in font.get_charmap())


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
    words, lines = one_line(text).split(" "), [""]
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
