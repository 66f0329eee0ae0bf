"""The request for a figure: its contents, and their syntax on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.measures.table import MEASURES

# Measures that can colour a figure, and their words there.
COLOURS = {
    "count": "activations in a cell",
    **{measure.name: measure.figure for measure in MEASURES if measure.figure},
}
# Printable widths: text is unreadable below a narrow column, and a page wider than A3 is a poster.
NARROWEST_MM, WIDEST_MM = 60.0, 420.0
DEFAULT_LABELS, DEFAULT_LOUPE_CELLS = 12, 3


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the layout, in its units: x and y from 0 to 1, y up."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Loupe:
    """A window of some cells around a position in the layout, shown enlarged."""

    x: float
    y: float
    cells: int = DEFAULT_LOUPE_CELLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """Size of a printed figure: its width, and the resolution of its pictures."""

    width_mm: float = 180.0
    dpi: int = 300

    def __post_init__(self) -> None:
        if not NARROWEST_MM <= self.width_mm <= WIDEST_MM:
            raise ConfigError(f"--width-mm {self.width_mm:g}: give {NARROWEST_MM:g} to {WIDEST_MM:g}")
        if not 50 <= self.dpi <= 1200:
            raise ConfigError(f"--dpi {self.dpi}: give 50 to 1200")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest:
    """Requests a figure of one atlas.

    Attributes: grid: None: the finest grid whose icons are readable in print. region: None: the whole map.
                num_labels: number of labelled regions; None: up to 12, but none for a class atlas or without
                attributions. measure: colours the small map beside the atlas, a key of ``COLOURS``.
                title: None: a default title.

    >>> FigureRequest(layer="mixed5", region=parse_region("0.2,0.5,0.6,0.9")).region.x1
    0.6
    """

    layer: str
    view: str = "all"
    grid: int | None = None
    region: Region | None = None
    num_labels: int | None = None
    loupes: tuple[Loupe, ...] = ()
    measure: str = "count"
    title: str | None = None
    size: Print = Print()


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetRequest:
    """Requests a sheet of several atlases: of all ``layers``, or of all ``classes`` in one layer.

    Attributes: layer: the layer of the classes; None: the last layer that has class atlases. views: class
                atlases to show, in order; empty: all. grid: None: the coarsest grid of each atlas.
    """

    kind: Literal["layers", "classes"]
    layer: str | None = None
    views: tuple[str, ...] = ()
    grid: int | None = None
    title: str | None = None
    size: Print = Print()


def parse_region(text: str) -> Region:
    """Parse ``x0,y0,x1,y1`` in the layout's units.

    Raises: ConfigError: not four numbers, or no area.

    >>> parse_region("0.2,0.5,0.6,0.9")
    Region(x0=0.2, y0=0.5, x1=0.6, y1=0.9)
    """
    example = "--region 0.2,0.5,0.6,0.9: x from left to right, y from bottom to top, both from 0 to 1"
    numbers = _numbers(text)
    if len(numbers) != 4:
        raise ConfigError(f"--region '{text}' is not of the form x0,y0,x1,y1, e.g. {example}")
    region = Region(*numbers)
    if region.x0 >= region.x1 or region.y0 >= region.y1:
        raise ConfigError(f"--region '{text}' has no area; give the lower left corner first, e.g. {example}")
    return region


def parse_loupe(text: str) -> Loupe:
    """Parse ``x,y`` or ``x,y,cells`` in the layout's units.

    Raises: ConfigError: not two or three numbers, or the number of cells is not a whole number.

    >>> parse_loupe("0.3,0.8,4")
    Loupe(x=0.3, y=0.8, cells=4)
    """
    numbers = _numbers(text)
    cells = numbers[2] if len(numbers) == 3 else float(DEFAULT_LOUPE_CELLS)
    if len(numbers) not in (2, 3) or cells != int(cells) or cells < 1:
        raise ConfigError(f"--loupe '{text}' is not of the form x,y or x,y,cells, e.g. --loupe 0.3,0.8,4")
    return Loupe(numbers[0], numbers[1], int(cells))


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []
