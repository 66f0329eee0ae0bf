"""The map of a figure: icons, outlines of the named regions, and their labels with leader lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.figure.arrangement import MARGIN, TAG_HEIGHT, TAG_WIDTH, Arrangement, Box
from atlas_pipeline.figure.lettering import line_height, one_line, text_width, wrapped
from atlas_pipeline.figure.page import INK, PAPER, Page
from atlas_pipeline.figure.pictures import icons_picture
from atlas_pipeline.figure.window import Window, cells_of
from atlas_pipeline.numerics.boxes import leader_ends
from atlas_pipeline.numerics.label_places import place_labels
from atlas_pipeline.numerics.regions import (
    agreeing_regions,
    connected_regions,
    innermost_cell,
    largest_regions,
    outline,
)
from atlas_pipeline.reader.atlas import Atlas

POINTS = 7.0
# mm: step of the raster of occupied area that labels avoid; widest line of a label; margin around a label.
_INK_STEP, _WIDEST_LABEL, _LABEL_MARGIN = 0.4, 34.0, 0.5
# A longer leader line, as a share of the map's shorter side, would run across regions that it does not name.
_LONGEST_LEADER = 0.3


@dataclass(frozen=True, slots=True)
class NamedRegion:
    """A region: its cells (cell, 2) row, col; the cell among them that its label points to; its name."""

    cells: NDArray[np.int64]
    anchor: tuple[int, int]
    name: str


@dataclass(frozen=True, slots=True)
class Label:
    """A region's name in lines, and its box on the page; its leader line runs to ``anchor``, x and y."""

    region: NamedRegion
    lines: tuple[str, ...]
    box: Box
    anchor: tuple[float, float]


def named_regions(atlas: Atlas, window: Window, most: int) -> list[NamedRegion]:
    """The connected regions of one top class with the most activations within a window, largest first.

    Regions in which less than half of the activations agree on a class are left out, as on the viewer's map.
    If several regions have one name, the largest of them has it alone.
    """
    cells = cells_of(atlas)
    inside = window.holds(cells)
    classes = np.where(inside, atlas.cells["class_index"].to_numpy(dtype=np.int64), -1)
    number = connected_regions(cells, classes, atlas.grid)
    if "consistency" in atlas.cells:
        number = agreeing_regions(number, atlas.cells["count"], atlas.cells["consistency"])
    regions: dict[str, NamedRegion] = {}
    for region in largest_regions(number, atlas.cells["count"], len(cells)).tolist():
        of_region = np.flatnonzero(number == region)
        first = atlas.cells.iloc[int(of_region[0])]
        row, col = cells[of_region][innermost_cell(cells[of_region])].tolist()
        name = one_line(first["label"] or "") or f"class {first['class_index']}"
        regions.setdefault(name, NamedRegion(cells[of_region], (row, col), name))
    return list(regions.values())[:most]


def draw_map(page: Page, atlas: Atlas, window: Window, layout: Arrangement) -> None:
    """Draw the icons at the page's resolution."""
    cell_px = round(layout.cell * page.dpi / 25.4)
    box = layout.map
    page.picture(icons_picture(atlas, window, cell_px), box.left, box.top, box.width, box.height)


def place_names(
    atlas: Atlas,
    window: Window,
    layout: Arrangement,
    regions: Sequence[NamedRegion],
    loupes: Sequence[Window],
    avoided: NDArray[np.float64],
    page_width: float,
) -> list[Label]:
    """Place the names of regions where they hide no icon; a name without such a place is left out.

    Args: loupes: windows on the map, on whose frames no label may lie. avoided: (line, 2, 2) on the page,
          lines on which no label may lie.
    """
    lines = [wrapped(region.name, POINTS, _WIDEST_LABEL, most=2) for region in regions]
    sizes = np.array([_size(label_lines) for label_lines in lines]).reshape(-1, 2)
    anchors = np.array([_centre(region.anchor, window, layout) for region in regions]).reshape(-1, 2)
    area = _label_area(page_width, layout)
    ink = occupied(atlas, window, layout, area, loupes)
    longest = _LONGEST_LEADER * min(layout.map.width, layout.map.height)
    labels = []
    for number, (x, y) in enumerate(place_labels(anchors, sizes, area, ink, avoided, longest).tolist()):
        if np.isfinite(x):
            box = Box(x, y, *sizes[number].tolist())
            anchor = (float(anchors[number, 0]), float(anchors[number, 1]))
            labels.append(Label(regions[number], tuple(lines[number]), box, anchor))
    return labels


def draw_labels(page: Page, window: Window, layout: Arrangement, labels: Sequence[Label]) -> None:
    """Outline the labelled regions, and draw the labels with their leader lines."""
    _draw_outlines(page, [label.region for label in labels], window, layout)
    for label in labels:
        _draw_leader(page, label)
        _draw_words(page, label)


def _size(lines: Sequence[str]) -> tuple[float, float]:
    """Width and height of a label, mm."""
    width = max(text_width(line, POINTS) for line in lines)
    return width + 2 * _LABEL_MARGIN, len(lines) * line_height(POINTS) + 2 * _LABEL_MARGIN


def corner(row: float, col: float, window: Window, layout: Arrangement) -> tuple[float, float]:
    """x, y on the page of a corner between cells; corner (0, 0) is the top left of the grid."""
    box = layout.map
    return box.left + (col - window.left) * layout.cell, box.top + (row - window.top) * layout.cell


def _centre(cell: tuple[int, int], window: Window, layout: Arrangement) -> tuple[float, float]:
    return corner(cell[0] + 0.5, cell[1] + 0.5, window, layout)


def _label_area(page_width: float, layout: Arrangement) -> tuple[float, float, float, float]:
    """Area where labels may lie: the map and the free space at its sides."""
    right = min(box.left for box in (*layout.loupes, layout.colours)) if layout.beside else page_width
    return (MARGIN, layout.map.top, right - MARGIN, layout.map.bottom)


def occupied(
    atlas: Atlas,
    window: Window,
    layout: Arrangement,
    area: tuple[float, float, float, float],
    loupes: Sequence[Window],
) -> NDArray[np.float64]:
    """(row, col) raster of the area: 1 where icons, the windows of loupes and their letters are, else 0."""
    shape = [max(1, int((area[k + 2] - area[k]) / _INK_STEP)) for k in (1, 0)]
    ink = np.zeros(shape)
    scale = np.array([shape[1] / (area[2] - area[0]), shape[0] / (area[3] - area[1])])
    # Row and column of a corner, and the size in mm.
    cell = layout.cell
    boxes = [(row, col, cell, cell) for row, col in cells_of(atlas)[window.holds(cells_of(atlas))].tolist()]
    boxes += [(loupe.top, loupe.left, loupe.cols * cell, loupe.rows * cell) for loupe in loupes]
    boxes += [(loupe.top, loupe.left, TAG_WIDTH, TAG_HEIGHT) for loupe in loupes]
    for row, col, width, height in boxes:
        low = np.array(corner(row, col, window, layout)) - area[:2]
        left, top = np.floor(low * scale).astype(int)
        right, bottom = np.ceil((low + np.array([width, height])) * scale).astype(int)
        ink[max(top, 0) : bottom, max(left, 0) : right] = 1
    return ink


def _draw_outlines(page: Page, regions: Sequence[NamedRegion], window: Window, layout: Arrangement) -> None:
    """Draw all light edges, then all dark lines, so that touching regions hide no outlines."""
    lines = [line for region in regions for line in outline(region.cells).tolist()]
    if not lines:
        return
    ends = [[corner(row, col, window, layout) for row, col in line] for line in lines]
    page.lines(ends, colour=PAPER, points=1.8)
    page.lines(ends, colour=INK, points=0.6)


def _draw_leader(page: Page, label: Label) -> None:
    box, anchor = label.box, np.array(label.anchor)
    end = leader_ends([[box.left, box.top, box.right, box.bottom]], anchor)[0]
    page.lines([[anchor, end]], colour=PAPER, points=1.6)
    page.lines([[anchor, end]], colour=INK, points=0.5)
    page.dot(*label.anchor, 0.55)


def _draw_words(page: Page, label: Label) -> None:
    box = label.box
    # Align the text towards its target, so that the leader meets the words and not the gap beside a short
    # line.
    x, align = box.left + box.width / 2, "center"
    if label.anchor[0] < box.left:
        x, align = box.left + _LABEL_MARGIN, "left"
    elif label.anchor[0] > box.right:
        x, align = box.right - _LABEL_MARGIN, "right"
    for number, line in enumerate(label.lines):
        y = box.top + _LABEL_MARGIN + line_height(POINTS) * (number + 0.75)
        page.text(x, y, line, POINTS, align=align)
