"""Typefaces of figures and pictures: DejaVu Sans, and others for the scripts that it lacks.

DejaVu Sans comes with matplotlib, so it is the same on every machine. matplotlib itself is imported only for
letters of other scripts: its import takes longer than most pictures.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

OWN_FAMILY = "DejaVu Sans"
_OWN_FILE = "mpl-data/fonts/ttf/DejaVuSans.ttf"
_FOR_OTHER_SCRIPTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans Arabic", "Noto Sans Hebrew",
    "Noto Sans Devanagari", "Noto Sans Thai", "Droid Sans Fallback", "Hiragino Sans", "Microsoft YaHei",
)  # fmt: skip
# Latin, Greek, Cyrillic, and the punctuation that our own texts use.
_OWN_RANGES = ((0x20, 0x2C0), (0x384, 0x526))
_OWN_SIGNS = frozenset("‐–—‘’“”…≤≥→")


def is_own(character: str) -> bool:
    """Whether DejaVu Sans is known to have the character; it has more than these."""
    code = ord(character)
    in_range = any(first <= code < end for first, end in _OWN_RANGES)
    return character.isprintable() and (in_range or character in _OWN_SIGNS)


@cache
def own_file() -> str:
    """The font file of DejaVu Sans."""
    package = find_spec("matplotlib")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / _OWN_FILE
        if file.is_file():
            return str(file)
    # The packages of some systems keep it elsewhere.
    from matplotlib import font_manager

    return str(font_manager.findfont(OWN_FAMILY))


@cache
def families() -> list[str]:
    """The typefaces to draw with; the first that has a letter draws it."""
    from matplotlib import font_manager

    installed = set(font_manager.fontManager.get_font_names())
    return [OWN_FAMILY, *(name for name in _FOR_OTHER_SCRIPTS if name in installed)]


@cache
def file_of_letter() -> dict[int, str]:
    """The font file that draws each code point; one without a file cannot be drawn."""
    from matplotlib import font_manager
    from matplotlib.font_manager import FontProperties

    files: dict[int, str] = {}
    for name in families():
        path = str(font_manager.findfont(FontProperties(family=name)))
        for code in font_manager.get_font(path).get_charmap():
            files.setdefault(code, path)
    return files
