"""Draws one atlas as a figure: title, map with labels, loupes and legends beside it, caption below."""

from __future__ import annotations

from collections.abc import Sequence

from atlas_pipeline.errors import ConfigError, counted
from atlas_pipeline.figure.arrangement import MARGIN, WITH_COLUMN_FROM, Arrangement, arrange, cell_side
from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.figure.lettering import fitted, line_height, wrapped
from atlas_pipeline.figure.map_panel import draw_labels, draw_map, named_regions, place_names
from atlas_pipeline.figure.page import ALARM, MUTED, Page
from atlas_pipeline.figure.request import COLOURS, DEFAULT_LABELS, FigureRequest
from atlas_pipeline.figure.side_panels import (
    POINTS,
    draw_colours,
    draw_loupes,
    draw_sizes,
    letter,
    loupe_lines,
)
from atlas_pipeline.figure.window import Window, cells_within, loupe_window, window_of
from atlas_pipeline.figure.words import ALARM_WORDS, caption_of, subtitle_of, title_of
from atlas_pipeline.pictures.lettering import signed
from atlas_pipeline.reader.atlas import Atlas
from atlas_pipeline.reader.run import AtlasRun

TITLE_POINTS, SUBTITLE_POINTS = 9.0, 7.0
# Narrower icons cannot be recognised in print.
SMALLEST_ICON_MM = 3.0
_SCALE, _AXIS = 5.5, 13.0


def draw_atlas(run: AtlasRun, request: FigureRequest) -> tuple[Page, list[Facts], str]:
    """Draw one atlas: returns the page, the facts of the atlas, and the caption.

    Raises: ConfigError: unknown layer, view or grid; a region or loupe outside the map; labels for an atlas
            without attributions; a measure that the atlas does not have; cells smaller than a pixel.
    """
    atlas = _atlas(run, request)
    facts, shown = Facts(run, atlas), window_of(atlas, request.region)
    loupes = _sort_loupes([loupe_window(atlas, loupe, shown) for loupe in request.loupes], request)
    regions = named_regions(atlas, shown, _num_labels(facts, request))
    _check_measure(atlas, request)
    compared = len(facts.classes) == 2
    title = title_lines(request.title or title_of(facts), request.size.width_mm)
    axis_height = _AXIS if compared else _SCALE
    layout = arrange(request.size.width_mm, request.size.dpi, shown, loupes, head_height(title), axis_height)
    lines_of_loupes = loupe_lines(loupes, shown, layout)
    labels = place_names(
        atlas, shown, layout, regions, loupes, lines_of_loupes.reshape(-1, 2, 2), request.size.width_mm
    )
    extras = _extras(request, len(loupes), len(labels))
    caption = caption_of(facts, None if request.region is None else shown.region(atlas.grid), extras)
    lines = wrapped(caption, POINTS, request.size.width_mm - 2 * MARGIN)
    height = layout.foot + 1.5 + line_height(POINTS) * (len(lines) + 1.5 * facts.random_weights) + MARGIN
    page = Page(request.size.width_mm, height, request.size.dpi)
    draw_head(page, title, subtitle_of(facts))
    draw_map(page, atlas, shown, layout)
    draw_labels(page, shown, layout, labels)
    draw_loupes(page, atlas, loupes, shown, layout)
    draw_colours(page, atlas, request.measure, shown, loupes, layout.colours)
    draw_sizes(page, atlas, layout.cell, layout.sizes)
    if compared:
        _draw_axis(page, facts, shown, layout)
    else:
        _draw_scale(page, shown, layout)
    draw_caption(page, lines, layout.foot + 1.5, alarm=facts.random_weights)
    return page, [facts], caption


def title_lines(title: str, width: float) -> list[str]:
    """Wrap the title to the page width."""
    return wrapped(title, TITLE_POINTS, width - 2 * MARGIN, most=3, bold=True)


def head_height(title: Sequence[str]) -> float:
    """Height of a title and subtitle, mm."""
    return 6.5 + line_height(TITLE_POINTS) * len(title)


def draw_head(page: Page, title: Sequence[str], subtitle: str) -> None:
    """Draw title and subtitle at the top."""
    step, y = line_height(TITLE_POINTS), 4.8
    for line in title:
        page.text(MARGIN, y, line, TITLE_POINTS, bold=True)
        y += step
    line = fitted(subtitle, SUBTITLE_POINTS, page.width - 2 * MARGIN)
    page.text(MARGIN, y - step + 3.6, line, SUBTITLE_POINTS, colour=MUTED)


def draw_caption(page: Page, lines: Sequence[str], top: float, *, alarm: bool) -> None:
    """Draw the caption; with ``alarm``, a red warning above it."""
    step = line_height(POINTS)
    if alarm:
        words = fitted(ALARM_WORDS, POINTS + 1, page.width - 2 * MARGIN, bold=True)
        page.text(MARGIN, top + step, words, POINTS + 1, colour=ALARM, bold=True)
        top += 1.5 * step
    for number, line in enumerate(lines):
        page.text(MARGIN, top + step * (number + 0.8), line, POINTS, colour=MUTED)


def _atlas(run: AtlasRun, request: FigureRequest) -> Atlas:
    """The requested grid, or the finest grid that is readable in print."""
    if request.grid is not None:
        return run.atlas(request.layer, request.view, request.grid)
    grids, page = run.grids(request.layer, request.view), request.size
    sides = {
        grid: cell_side(page.width_mm, page.dpi, cells_within(request.region, grid), len(request.loupes))
        for grid in grids
    }
    readable = [grid for grid, side in sides.items() if side >= SMALLEST_ICON_MM]
    return run.atlas(request.layer, request.view, max(readable, default=grids[0]))


def _sort_loupes(loupes: Sequence[Window], request: FigureRequest) -> list[Window]:
    """Order from top to bottom, or left to right below the map, so that the leader lines do not cross."""
    beside = request.size.width_mm >= WITH_COLUMN_FROM
    return sorted(loupes, key=lambda w: (w.top, w.left) if beside else (w.left, w.top))


def _num_labels(facts: Facts, request: FigureRequest) -> int:
    if (facts.atlas.cells["class_index"] >= 0).any():
        # The title of a class atlas already names its class.
        default = 0 if len(facts.classes) == 1 else DEFAULT_LABELS
        return default if request.num_labels is None else request.num_labels
    if request.num_labels:
        raise ConfigError(
            "--labels needs attributions, and this run has none (sample.attribution: none); leave it out"
        )
    return 0


def _check_measure(atlas: Atlas, request: FigureRequest) -> None:
    values = atlas.cells.get(request.measure)
    if values is None or not values.notna().any():
        raise ConfigError(f"--colour {request.measure}: this atlas has no {request.measure}; use count")


def _extras(request: FigureRequest, num_loupes: int, num_regions: int) -> list[str]:
    extras = []
    if num_regions:
        extras.append("Outlined: the largest connected regions of one class of highest mean attribution.")
    if num_loupes:
        last = letter(num_loupes - 1)
        names = {1: letter(0), 2: f"{letter(0)}, {last}"}.get(num_loupes, f"{letter(0)} to {last}")
        extras.append(f"{names}: enlarged.")
    if request.measure != "count":
        extras.append(f"Small map: {COLOURS[request.measure]}.")
    return extras


def _draw_scale(page: Page, shown: Window, layout: Arrangement) -> None:
    """Draw a scale bar with the length of a few cells."""
    box = layout.map
    number = max(n for n in (1, 2, 5, 10, 20, 50) if n <= max(1, shown.cols // 4))
    y, right = box.bottom + 2.2, box.left + number * layout.cell
    ends = [[[box.left, y], [right, y]], *([[x, y - 0.7], [x, y + 0.7]] for x in (box.left, right))]
    page.lines(ends, points=0.7)
    # Below the map, the lines of a loupe may pass here.
    page.text(right + 1.5, y + 0.8, counted(number, "cell"), POINTS, on_paper=True)


def _draw_axis(page: Page, facts: Facts, shown: Window, layout: Arrangement) -> None:
    """Draw the x axis of a comparison: the difference of two attributions, in logits."""
    box, grid = layout.map, facts.atlas.grid
    left, right = facts.classes
    scale = float(facts.selection["scale"])
    y = box.bottom + 2.0
    page.lines([[[box.left, y], [box.right, y]]], points=0.7)
    for x, direction in ((box.left, 1), (box.right, -1)):
        page.polygon([(x, y), (x + direction * 1.6, y - 0.7), (x + direction * 1.6, y + 0.7)])
    for share, align in ((0.0, "left"), (0.5, "center"), (1.0, "right")):
        value = scale * (2 * (shown.left + share * shown.cols) / grid - 1)
        x = box.left + share * box.width
        page.text(x, y + 3.2, signed(value), POINTS, align=align, on_paper=True)
    room = box.width * 0.48
    for name, align, x in ((left, "left", box.left), (right, "right", box.right)):
        line = fitted(name, POINTS + 1, room, bold=True)
        page.text(x, y + 6.8, line, POINTS + 1, bold=True, align=align, on_paper=True)
    words = fitted(f"attribution to {right} minus attribution to {left}, logits", POINTS, box.width)
    page.text(box.left + box.width / 2, y + 10.2, words, POINTS, align="center", on_paper=True)
