"""Page layout of an atlas figure: the map, with loupes and legends beside or below it.

Lengths are in mm from the top left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.window import Window

MARGIN, GAP = 2.0, 5.0
# Page width from which a column fits beside the map; narrower pages have the panels in rows below the map.
WITH_COLUMN_FROM = 120.0
NARROWEST_COLUMN, WIDEST_COLUMN = 24.0, 44.0
# Heights of the text of a panel: two lines below a loupe; title, colour bar and numbers; the legend of sizes.
LOUPE_WORDS, COLOUR_WORDS, SIZES_HEIGHT = 8.0, 12.0, 16.5
# Size of a loupe's letter at the corner of its frame on the map; a small frame is narrower.
TAG_WIDTH, TAG_HEIGHT = 2.6, 2.9
# Largest height of a map: an A4 page minus the caption.
TALLEST_MAP = 215.0
_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the page."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The boxes of a figure's pictures; text is placed above or below its box.

    Attributes: cell: side of a cell in print. sizes: box of the legend of icon sizes, text included. beside:
                whether the panels are beside the map, not below it. foot: top of the area below all pictures.
    """

    map: Box
    cell: float
    loupes: tuple[Box, ...]
    colours: Box
    sizes: Box
    beside: bool
    foot: float


def arrange(
    width: float, dpi: int, window: Window, loupes: Sequence[Window], head: float, axis: float
) -> Arrangement:
    """Lay out a page ``width`` mm wide. head, axis: heights of the areas above and below the map.

    Raises: ConfigError: the cells are smaller than a pixel.
    """
    inner, cell = width - 2 * MARGIN, cell_side(width, dpi, window, len(loupes))
    if cell == 0:
        raise ConfigError(
            f"each of the {window.cols} x {window.rows} cells has less than a pixel at --width-mm {width:g} "
            f"and --dpi {dpi}; take a coarser --grid, a --region, or more --dpi"
        )
    box = _map_box(cell, dpi, window, head)
    if width < WITH_COLUMN_FROM:
        return _arrange_below(inner, box, cell, len(loupes), axis)
    column = _column_width(inner, window, len(loupes))
    centres = [box.top + (loupe.top + loupe.rows / 2 - window.top) * cell for loupe in loupes]
    tops, legends = _stack_column(column, box, centres)
    left = width - MARGIN - column
    sizes = Box(left, legends + column + COLOUR_WORDS, column, SIZES_HEIGHT)
    bottom = max([sizes.bottom, *(top + column + LOUPE_WORDS for top in tops)])
    return Arrangement(
        map=box,
        cell=cell,
        loupes=tuple(Box(left, top, column, column) for top in tops),
        colours=Box(left, legends + 4.0, column, column),
        sizes=sizes,
        beside=True,
        foot=max(box.bottom + axis, bottom),
    )


def cell_side(width: float, dpi: int, window: Window, num_loupes: int) -> float:
    """Side of a cell of the map in print, a whole number of pixels; 0 if it would be less than one."""
    inner = width - 2 * MARGIN
    room = inner if width < WITH_COLUMN_FROM else inner - GAP - _column_width(inner, window, num_loupes)
    side = min(room / window.cols, TALLEST_MAP / window.rows)
    return int(side * dpi / 25.4) * 25.4 / dpi


def _stack_column(column: float, box: Box, centres: Sequence[float]) -> tuple[list[float], float]:
    """Tops of the loupes and of the legends, in a column beside the map.

    The legends are placed between the loupes so that the loupes are as near as possible to their windows.

    Args: centres: vertical centre of each loupe's window on the page, from the top down.
    """
    loupe, legends, number = column + LOUPE_WORDS, column + COLOUR_WORDS + SIZES_HEIGHT, len(centres)
    spare = max(0.0, box.height - number * loupe - legends)
    stacks = []
    for before in range(number, -1, -1):
        tops = [box.top + k * loupe + (0 if k < before else legends + spare) for k in range(number)]
        distance = sum(abs(top + column / 2 - centre) for top, centre in zip(tops, centres, strict=True))
        # Align with the map's top or bottom if the legends come first or last.
        share = 0.0 if before == 0 else 1.0 if before == number else 0.5
        stacks.append((distance, tops, box.top + before * loupe + share * spare))
    _, tops, top = min(stacks, key=lambda stack: stack[0])
    return tops, top


def _column_width(inner: float, window: Window, num_loupes: int) -> float:
    """Column width that makes the panels as high as the map, within limits."""
    # rows / cols * (inner - gap - column) = num_pictures * column + words
    aspect = window.rows / window.cols
    words = num_loupes * LOUPE_WORDS + COLOUR_WORDS + SIZES_HEIGHT
    column = (aspect * (inner - GAP) - words) / (num_loupes + 1 + aspect)
    return min(max(column, NARROWEST_COLUMN), WIDEST_COLUMN if num_loupes else 36.0)


def _arrange_below(inner: float, box: Box, cell: float, num_loupes: int, axis: float) -> Arrangement:
    side = min((inner - GAP * (_IN_A_ROW - 1)) / _IN_A_ROW, WIDEST_COLUMN)
    top, boxes = box.bottom + axis + GAP / 2, []
    for number in range(num_loupes + 2):
        row, col = divmod(number, _IN_A_ROW)
        # The legend of sizes takes a whole panel; the area of its picture stays empty.
        panel_top = top + row * (side + COLOUR_WORDS + 4.0)
        boxes.append(Box(MARGIN + col * (side + GAP), panel_top + 4.0, side, side))
    sizes = Box(boxes[-1].left, boxes[-1].top - 4.0, side, SIZES_HEIGHT)
    return Arrangement(
        map=box,
        cell=cell,
        loupes=tuple(boxes[:num_loupes]),
        colours=boxes[num_loupes],
        sizes=sizes,
        beside=False,
        foot=max(boxes[num_loupes].bottom + COLOUR_WORDS - 4.0, sizes.bottom),
    )


def _map_box(cell: float, dpi: int, window: Window, head: float) -> Box:
    """The map's box, with its corner on a pixel."""
    left, top = (round(length * dpi / 25.4) * 25.4 / dpi for length in (MARGIN, head))
    return Box(left, top, window.cols * cell, window.rows * cell)
