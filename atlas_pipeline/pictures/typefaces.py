"""Typefaces for any script: matplotlib's own, and those for other scripts that are installed.

matplotlib is imported when the first text asks for it, which takes longer than most pictures.
"""

from __future__ import annotations

from functools import cache

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
