"""Embeds the typeface in an SVG: a browser would otherwise substitute a wider or narrower one."""

from __future__ import annotations

import base64
import io

from fontTools import subset
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties

from atlas_pipeline.pictures.typefaces import OWN_FAMILY


def with_typeface(svg: bytes, letters: str) -> bytes:
    """Embed fonts with the used letters, in both weights.

    Args: svg: written by matplotlib with text as text. letters: all letters in it.
    """
    faces = "".join(_face(weight, letters) for weight in ("normal", "bold"))
    head, opened, rest = svg.partition(b"<svg")
    tag, closed, body = rest.partition(b">")
    return b"".join([head, opened, tag, closed, f"\n<style>{faces}</style>".encode(), body])


def _face(weight: str, letters: str) -> str:
    path = font_manager.findfont(FontProperties(family=OWN_FAMILY, weight=weight))
    # Keep the font's own timestamp, so that the same figure gives the same file.
    font = TTFont(path, recalcTimestamp=False)
    options = subset.Options(layout_features=["kern", "liga"])
    # Drop FontForge's own table: fontTools cannot subset it and would warn on stderr.
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
