"""The typeface within an SVG: without it a browser would set the words in another, wider or narrower one."""

from __future__ import annotations

import base64
import io

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties

from atlas_pipeline.pictures.typefaces import OWN_FAMILY


def with_typeface(svg: bytes, letters: str) -> bytes:
    """The SVG with the letters that it uses, of both weights, as fonts of its own.

    Args: svg: as matplotlib writes it, its text as text. letters: every letter in it.
    """
    faces = "".join(_face(weight, letters) for weight in ("normal", "bold"))
    head, opened, rest = svg.partition(b"<svg")
    tag, closed, body = rest.partition(b">")
    return b"".join([head, opened, tag, closed, f"\n<style>{faces}</style>".encode(), body])


def _face(weight: str, letters: str) -> str:
    path = font_manager.findfont(FontProperties(family=OWN_FAMILY, weight=weight))
    # The time of the font's own making stays: the same figure twice is the same file.
    font = TTFont(path, recalcTimestamp=False)
    options = subset.Options(layout_features=["kern", "liga"])
    # FontForge's own table: fontTools cannot subset it, and would say so on stderr.
    options.drop_tables += ["FFTM"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=letters)
    subsetter.subset(font)
    file = io.BytesIO()
    font.save(file)
    encoded = base64.b64encode(file.getvalue()).decode()
    return (
        f"@font-face{{font-family:'{OWN_FAMILY}';font-weight:{weight};"
        f"src:url(data:font/ttf;base64,{encoded})}}"
    )
