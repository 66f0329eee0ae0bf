"""Panels beside the map: loupes with lines to their windows, the map coloured by a measure, icon sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.figure.arrangement import TAG_HEIGHT, TAG_WIDTH, Arrangement, Box
from atlas_pipeline.figure.lettering import first_fitting, fitted, line_height
from atlas_pipeline.figure.map_panel import corner
from atlas_pipeline.figure.page import FAINT, GREY, INK, MUTED, PAPER, Page
from atlas_pipeline.figure.pictures import colour_scale, icons_picture, measure_picture, tick_texts
from atlas_pipeline.figure.request import COLOURS
from atlas_pipeline.figure.window import Window, cells_of
from atlas_pipeline.numerics.mosaic import icon_sides
from atlas_pipeline.reader.atlas import Atlas

if TYPE_CHECKING:
    import pandas as pd

POINTS = 6.5
_BAR, _BAR_STEPS = 2.0, 256
# Icon sides shown in the legend of sizes, as shares of a cell.
_SIDES = (0.4, 0.7, 1.0)
_FINE_PX = 10_000


def letter(number: int) -> str:
    """Name of a loupe: a, b, ... z, aa, ab, ..."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def loupe_lines(windows: Sequence[Window], shown: Window, layout: Arrangement) -> NDArray[np.float64]:
    """(loupe, 2, 2, 2): two lines per loupe, from its frame on the map to its picture, x, y on the page."""
    lines = []
    for window, box in zip(windows, layout.loupes, strict=True):
        left, top = corner(window.top, window.left, shown, layout)
        right, bottom = corner(window.top + window.rows, window.left + window.cols, shown, layout)
        if layout.beside:
            ends = [[[right, top], [box.left, box.top]], [[right, bottom], [box.left, box.bottom]]]
        else:
            ends = [[[left, bottom], [box.left, box.top]], [[right, bottom], [box.right, box.top]]]
        lines.append(ends)
    return np.array(lines, dtype=np.float64).reshape(-1, 2, 2, 2)


def draw_loupes(
    page: Page, atlas: Atlas, windows: Sequence[Window], shown: Window, layout: Arrangement
) -> None:
    """Draw the frames on the map, the lines, and the enlarged windows with their texts."""
    for number, (window, box, lines) in enumerate(
        zip(windows, layout.loupes, loupe_lines(windows, shown, layout), strict=True)
    ):
        page.lines(lines, colour=PAPER, points=1.4)
        page.lines(lines, colour=INK, points=0.4)
        left, top = corner(window.top, window.left, shown, layout)
        side = window.rows * layout.cell
        page.rectangle(left, top, side, side, edge=PAPER, points=2.0)
        page.rectangle(left, top, side, side, edge=INK, points=0.9)
        page.rectangle(left, top, TAG_WIDTH, TAG_HEIGHT, fill=INK)
        page.text(
            left + TAG_WIDTH / 2, top + 2.1, letter(number), POINTS, colour=PAPER, bold=True, align="center"
        )
        cell_px = max(1, int(box.width * page.dpi / 25.4 / window.cols))
        page.rectangle(box.left, box.top, box.width, box.height, fill=PAPER)
        page.picture(icons_picture(atlas, window, cell_px), box.left, box.top, box.width, box.height)
        page.rectangle(box.left, box.top, box.width, box.height, edge=INK, points=0.9)
        _loupe_words(page, atlas, window, box, letter(number))


def _loupe_words(page: Page, atlas: Atlas, window: Window, box: Box, name: str) -> None:
    """Write a loupe's letter, the class with the most of its activations, and its numbers."""
    inside = atlas.cells[window.holds(cells_of(atlas))]
    fidelity = inside["fidelity"].median()
    best = class_words(inside)
    count = f"{int(inside['count'].sum()):,} activations"
    numbers = first_fitting([f"{count}, fidelity {fidelity:.2f}", count], POINTS - 0.5, box.width)
    y = box.bottom + line_height(POINTS)
    page.text(box.left, y, name, POINTS + 0.5, bold=True)
    words = first_fitting(best, POINTS, box.width - 2.6) if best else ""
    page.text(box.left + 2.6, y, words or fitted(numbers, POINTS, box.width - 2.6), POINTS)
    if words:
        page.text(box.left, y + line_height(POINTS), numbers, POINTS - 0.5, colour=MUTED)


def class_words(cells: pd.DataFrame) -> list[str]:
    """Words that name some cells, the longest first; none where no cell has a class.

    The class's name stands alone only if more than half of the activations agree on it. Otherwise the last
    words are empty: without room to say how few they are, nothing is said.
    """
    if not cells["label"].notna().any():
        return []
    agreeing = cells["count"] * cells["consistency"] if "consistency" in cells else cells["count"]
    classes = agreeing.groupby(cells["label"]).sum()
    top = str(classes.idxmax())
    if classes.max() > 0.5 * cells["count"].sum():
        return [f"mostly {top}", top]
    return [f"most often {top}", f"often {top}", ""]


def draw_colours(
    page: Page, atlas: Atlas, measure: str, shown: Window, loupes: Sequence[Window], box: Box
) -> None:
    """Draw the whole map coloured by a measure, with frames for the shown windows, and its colour bar."""
    values = atlas.cells[measure].to_numpy(dtype=np.float64)
    scale = colour_scale(values, measure)
    words = first_fitting([COLOURS[measure], measure], POINTS, box.width)
    page.text(box.left, box.top - 1.2, words, POINTS, colour=MUTED)
    page.picture(measure_picture(atlas, values, scale), box.left, box.top, box.width, box.height)
    page.rectangle(box.left, box.top, box.width, box.height, edge=FAINT, points=0.4)
    cell = box.width / atlas.grid
    frames = [window for window in (shown, *loupes) if window.rows < atlas.grid or window.cols < atlas.grid]
    for window in frames:
        left, top = box.left + window.left * cell, box.top + window.top * cell
        page.rectangle(left, top, window.cols * cell, window.rows * cell, edge=INK, points=0.6)
    top = box.bottom + 1.2
    steps = np.linspace(scale.low, scale.high, _BAR_STEPS)
    if scale.root:
        steps = np.linspace(scale.low**0.5, scale.high**0.5, _BAR_STEPS) ** 2
    bar = scale.colours(steps)[None].repeat(8, axis=0)
    page.picture(bar, box.left, top, box.width, _BAR)
    places = {"left": box.left, "right": box.right, "center": box.left + box.width / 2}
    texts = tick_texts((scale.low, scale.high, float(steps[_BAR_STEPS // 2])), whole=measure == "count")
    for text, (align, x) in zip(texts, places.items(), strict=True):
        if text is not None:
            page.text(x, top + _BAR + 2.8, text, POINTS, align=align)


def draw_sizes(page: Page, atlas: Atlas, cell: float, box: Box) -> None:
    """Draw the legend of icon sizes: the number of activations for some sizes, at the scale of this map."""
    if atlas.provenance.get("config", {}).get("scale", "density") != "density":
        return
    counts = atlas.cells["count"].to_numpy()
    sides = icon_sides(counts, _FINE_PX) / _FINE_PX
    # The cell nearest in size gives the number (the smallest count among full cells): the mosaic has the
    # rule. Several sizes may have one nearest cell.
    nearest = dict.fromkeys(int(np.lexsort([counts, np.abs(sides - share)])[0]) for share in _SIDES)
    if len(nearest) == 1:
        return  # all icons have one size
    title = first_fitting(["icon size: activations", "icon size"], POINTS, box.width)
    page.text(box.left, box.top + 2.8, title, POINTS, colour=MUTED)
    side, step = min(cell, 7.0), box.width / len(_SIDES)
    for number, cell_number in enumerate(nearest):
        middle, top = box.left + step * (number + 0.5), box.top + 4.0
        inner = side * float(sides[cell_number])
        page.rectangle(middle - side / 2, top, side, side, edge=FAINT, points=0.4)
        page.rectangle(middle - inner / 2, top + (side - inner) / 2, inner, inner, fill=GREY)
        words = f"{'≥ ' if sides[cell_number] == 1 else ''}{int(counts[cell_number]):,}"
        page.text(middle, top + side + 2.8, words, POINTS, align="center")
