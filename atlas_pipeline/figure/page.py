"""A page to draw on: lengths in mm from the top left corner, line widths and font sizes in points.

This is the only module that uses matplotlib's figures. Text stays text in PDF and SVG; its typeface is
embedded or named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import ArrayLike, NDArray

from atlas_pipeline.engine.atomic_files import atomic_file
from atlas_pipeline.engine.location import Location
from atlas_pipeline.figure.svg_typeface import with_typeface
from atlas_pipeline.pictures.typefaces import families

MM_PER_INCH = 25.4
INK, MUTED, GREY, FAINT, PAPER = "#1c1c20", "#5c5c64", "#8c8c94", "#c8c8ce", "#ffffff"
ALARM = "#b01820"
# PDFs embed TrueType outlines and SVGs keep text, so that both can be selected, searched and edited.
# The fixed salt makes the ids of an SVG the same in every run.
_STYLE: Any = {
    "pdf.fonttype": 42,
    "pdf.compression": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "atlas-pipeline",
    # Hinting rounds letter widths to whole pixels: in a coarse PNG a line would become wider than measured.
    "text.hinting": "none",
    "text.usetex": False,
    "path.simplify": False,
    "image.composite_image": False,
}
FORMATS = ("pdf", "svg", "png")


@contextmanager
def own_style() -> Iterator[None]:
    """Use our style for measuring, drawing and saving, regardless of the user's matplotlibrc or style."""
    # Keep the backend: setting it looks for a display, and nothing is shown here.
    plain: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context({**plain, **_STYLE}):
        yield


class Page:
    """An empty white page, ``width`` x ``height`` mm; create, draw and save it inside ``own_style``."""

    def __init__(self, width: float, height: float, dpi: int) -> None:
        self.width, self.height, self.dpi = width, height, dpi
        # Figure, not pyplot: it changes no global state and needs no display.
        self._figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), dpi=dpi, facecolor=PAPER)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self._axes.axis("off")
        self._zorder, self._letters = 0, set[str]()

    def _next_zorder(self) -> int:
        # Later items are drawn on top, regardless of matplotlib's order of lines and images.
        self._zorder += 1
        return self._zorder

    def text(
        self,
        x: float,
        y: float,
        line: str,
        points: float,
        *,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
        on_paper: bool = False,
    ) -> None:
        """Draw one line of text; y is its baseline, x its left end, middle (``center``) or right end.

        on_paper: draw a white background, for text that lines may cross.
        """
        self._letters |= set(line)
        # parse_math: two dollar signs in a label are not a formula.
        self._axes.text(
            x, y, line, color=colour, ha=align, va="baseline", family=families(), size=points,
            weight="bold" if bold else "normal", parse_math=False, zorder=self._next_zorder(),
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8} if on_paper else None,
        )  # fmt: skip

    def picture(
        self, picture: NDArray[np.uint8], left: float, top: float, width: float, height: float
    ) -> None:
        """Draw a picture (height, width, 3) uint8, stretched to the rectangle."""
        # "none": the file keeps the original pixels.
        image = AxesImage(self._axes, interpolation="none", extent=(left, left + width, top + height, top))
        image.set_data(picture)
        image.set_zorder(self._next_zorder())
        # Not Axes.imshow: it would change the page's limits and aspect.
        self._axes.add_image(image)

    def lines(self, ends: ArrayLike, *, colour: str = INK, points: float = 0.5) -> None:
        """Draw straight lines (line, 2, 2), each from x, y to x, y."""
        self._axes.add_collection(
            LineCollection(
                list(np.asarray(ends, dtype=np.float64)),
                colors=colour,
                linewidths=points,
                capstyle="projecting",
                zorder=self._next_zorder(),
            )
        )

    def rectangle(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        edge: str | None = None,
        points: float = 0.5,
        opacity: float = 1.0,
    ) -> None:
        """Draw a rectangle, filled or framed or both."""
        self._axes.add_patch(
            Rectangle(
                (left, top),
                width,
                height,
                facecolor=fill or "none",
                edgecolor=edge or "none",
                linewidth=points if edge else 0,
                alpha=opacity,
                zorder=self._next_zorder(),
            )
        )

    def polygon(self, corners: ArrayLike, *, fill: str = INK) -> None:
        """Draw a filled polygon (corner, 2)."""
        self._axes.add_patch(
            Polygon(np.asarray(corners), facecolor=fill, edgecolor="none", zorder=self._next_zorder())
        )

    def dot(self, x: float, y: float, radius: float, *, fill: str = INK, edge: str = PAPER) -> None:
        """Draw a small disc with an edge."""
        angle = np.linspace(0, 2 * np.pi, 25)
        ring = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
        self._axes.add_patch(
            Polygon(ring, facecolor=fill, edgecolor=edge, linewidth=0.5, zorder=self._next_zorder())
        )

    def save(self, path: Location, metadata: Mapping[str, Any]) -> None:
        """Write the page atomically, in the format of the path's suffix.

        Args:   metadata: title, subject (the caption), creator, provenance (JSON).
        Raises: ResourceError: the file cannot be written.
        """
        with atomic_file(path) as file:
            file.write(self.content(path.suffix[1:].lower(), metadata))

    def content(self, form: str, metadata: Mapping[str, Any]) -> bytes:
        """The page as a file. form: one of `FORMATS`. metadata: see `save`."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, format=form, dpi=self.dpi, metadata=_metadata(form, metadata))
        letters = "".join(sorted(self._letters))
        return with_typeface(buffer.getvalue(), letters) if form == "svg" else buffer.getvalue()


def _metadata(form: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata under each format's own keys. No dates, so that the same figure gives the same file."""
    if form == "pdf":
        return {
            "Title": metadata["title"], "Subject": metadata["subject"], "Creator": metadata["creator"],
            "Keywords": metadata["provenance"], "CreationDate": None,
        }  # fmt: skip
    if form == "svg":
        return {
            "Title": metadata["title"], "Description": metadata["subject"], "Creator": metadata["creator"],
            "Identifier": metadata["provenance"], "Date": None,
        }  # fmt: skip
    return {
        "Title": metadata["title"], "Description": metadata["subject"], "Software": metadata["creator"],
        "Provenance": metadata["provenance"],
    }  # fmt: skip
