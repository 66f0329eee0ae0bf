"""A page to draw on: lengths in mm from the top left corner, line widths and letters in points.

The one place that knows matplotlib's figures. Text stays text in PDF and SVG, its typeface embedded or named.
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
# A PDF's letters as TrueType outlines and an SVG's as text: both can be selected, searched and edited.
# Without the salt an SVG's ids, without the fixed sizes a page, would differ from run to run.
_STYLE: Any = {
    "pdf.fonttype": 42,
    "pdf.compression": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "atlas-pipeline",
    # Hinted letters are as wide as whole pixels: in a coarse PNG a line would outgrow its measure.
    "text.hinting": "none",
    "text.usetex": False,
    "path.simplify": False,
    "image.composite_image": False,
}
FORMATS = ("pdf", "svg", "png")


@contextmanager
def own_style() -> Iterator[None]:
    """Around all that measures, draws or saves: nobody's own matplotlibrc or style changes a figure."""
    # The backend stays: to set it looks for a display, and nothing here is shown.
    plain: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context({**plain, **_STYLE}):
        yield


class Page:
    """An empty sheet of white paper, ``width`` x ``height`` mm; made, drawn on and saved in ``own_style``."""

    def __init__(self, width: float, height: float, dpi: int) -> None:
        self.width, self.height, self.dpi = width, height, dpi
        # Figure, not pyplot: nothing global is touched, and no display is looked for.
        self._figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH), dpi=dpi, facecolor=PAPER)
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self._axes.axis("off")
        self._on_top, self._letters = 0, set[str]()

    def _above(self) -> int:
        # What is drawn later lies above, whatever matplotlib thinks of lines and pictures.
        self._on_top += 1
        return self._on_top

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
        """One line; y is its baseline, x its left end, middle (``center``) or right end.

        on_paper: with white behind it, for what lines may run through.
        """
        self._letters |= set(line)
        # parse_math: a label with two dollar signs is a label.
        self._axes.text(
            x, y, line, color=colour, ha=align, va="baseline", family=families(), size=points,
            weight="bold" if bold else "normal", parse_math=False, zorder=self._above(),
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8} if on_paper else None,
        )  # fmt: skip

    def picture(
        self, picture: NDArray[np.uint8], left: float, top: float, width: float, height: float
    ) -> None:
        """(height, width, 3) uint8, stretched over the rectangle."""
        # "none": the pixels go into the file as they are.
        image = AxesImage(self._axes, interpolation="none", extent=(left, left + width, top + height, top))
        image.set_data(picture)
        image.set_zorder(self._above())
        # Not Axes.imshow: it would change the page's own limits and aspect.
        self._axes.add_image(image)

    def lines(self, ends: ArrayLike, *, colour: str = INK, points: float = 0.5) -> None:
        """(line, 2, 2): straight lines from x, y to x, y."""
        self._axes.add_collection(
            LineCollection(
                list(np.asarray(ends, dtype=np.float64)),
                colors=colour,
                linewidths=points,
                capstyle="projecting",
                zorder=self._above(),
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
        """A rectangle, filled or framed or both."""
        self._axes.add_patch(
            Rectangle(
                (left, top),
                width,
                height,
                facecolor=fill or "none",
                edgecolor=edge or "none",
                linewidth=points if edge else 0,
                alpha=opacity,
                zorder=self._above(),
            )
        )

    def polygon(self, corners: ArrayLike, *, fill: str = INK) -> None:
        """(corner, 2), filled."""
        self._axes.add_patch(
            Polygon(np.asarray(corners), facecolor=fill, edgecolor="none", zorder=self._above())
        )

    def dot(self, x: float, y: float, radius: float, *, fill: str = INK, edge: str = PAPER) -> None:
        """A small disc with an edge."""
        turn = np.linspace(0, 2 * np.pi, 25)
        ring = np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)
        self._axes.add_patch(
            Polygon(ring, facecolor=fill, edgecolor=edge, linewidth=0.5, zorder=self._above())
        )

    def save(self, path: Location, metadata: Mapping[str, Any]) -> None:
        """Write the page, whole or not at all, in the format of the path's suffix.

        Args:   metadata: title, subject (the caption), creator, provenance (JSON).
        Raises: ResourceError: it cannot be written.
        """
        form = path.suffix[1:].lower()
        with atomic_file(path) as file:
            drawn = io.BytesIO()
            self._figure.savefig(drawn, format=form, dpi=self.dpi, metadata=_metadata(form, metadata))
            letters = "".join(sorted(self._letters))
            file.write(with_typeface(drawn.getvalue(), letters) if form == "svg" else drawn.getvalue())


def _metadata(form: str, of: Mapping[str, Any]) -> dict[str, Any]:
    """What each format calls it. No dates: the same figure twice is the same file."""
    if form == "pdf":
        return {
            "Title": of["title"], "Subject": of["subject"], "Creator": of["creator"],
            "Keywords": of["provenance"], "CreationDate": None,
        }  # fmt: skip
    if form == "svg":
        return {
            "Title": of["title"], "Description": of["subject"], "Creator": of["creator"],
            "Identifier": of["provenance"], "Date": None,
        }  # fmt: skip
    return {
        "Title": of["title"], "Description": of["subject"], "Software": of["creator"],
        "Provenance": of["provenance"],
    }  # fmt: skip
