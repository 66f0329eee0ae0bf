"""What a figure shall show, and how it is told on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.measures.table import MEASURES

# What a figure may be coloured by, and its words there.
COLOURS = {
    "count": "activations in a cell",
    **{measure.name: measure.figure for measure in MEASURES if measure.figure},
}
# Of what journals print: narrower than a column nothing can be read, wider than A3 is a poster.
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
    """A window of some cells around a place of the layout, shown enlarged."""

    x: float
    y: float
    cells: int = DEFAULT_LOUPE_CELLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """How large a figure is printed: its width, and how fine its pictures are."""

    width_mm: float = 180.0
    dpi: int = 300

    def __post_init__(self) -> None:
        if not NARROWEST_MM <= self.width_mm <= WIDEST_MM:
            raise ConfigError(f"--width-mm {self.width_mm:g}: from {NARROWEST_MM:g} to {WIDEST_MM:g}")
        if not 50 <= self.dpi <= 1200:
            raise ConfigError(f"--dpi {self.dpi}: from 50 to 1200")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRequest:
    """One atlas as a figure.

    Attributes: grid: None: the finest whose icons are still large enough to read in print. region: None:
                the whole map. num_labels: regions to name; None: up to 12, but none in a class atlas or
                where the run has no attributions. measure: what the small map beside the atlas is coloured
                by, a key of ``COLOURS``. title: None: one is made.
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
    """Many atlases on one sheet: of all ``layers``, or of all ``classes`` in one layer.

    Attributes: layer: of the classes; None: the last that has any. views: which class atlases, in this order;
                empty: all. grid: None: the coarsest of each.
    """

    kind: Literal["layers", "classes"]
    layer: str | None = None
    views: tuple[str, ...] = ()
    grid: int | None = None
    title: str | None = None
    size: Print = Print()


def parse_region(text: str) -> Region:
    """``x0,y0,x1,y1`` in the layout's units.

    Raises: ConfigError: not four numbers, or no area.
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
    """``x,y`` or ``x,y,cells`` in the layout's units.

    Raises: ConfigError: not two or three numbers, or a number of cells that is not whole.
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
