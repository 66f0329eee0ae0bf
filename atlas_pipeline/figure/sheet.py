"""Contact sheets: the atlases of all layers, or of all classes in one layer, each with its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.figure.arrangement import MARGIN, Box
from atlas_pipeline.figure.atlas_figure import draw_caption, draw_head, head_height, title_lines
from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.figure.lettering import first_fitting, fitted, line_height, wrapped
from atlas_pipeline.figure.page import MUTED, Page
from atlas_pipeline.figure.request import SheetRequest
from atlas_pipeline.figure.side_panels import POINTS
from atlas_pipeline.figure.words import sheet_caption_of
from atlas_pipeline.reader.run import AtlasRun

# Panel sizes, mm: smallest readable width; height of two lines of text; gap between panels.
NARROWEST_MM, _TEXT_MM, _GAP_MM = 27.0, 7.0, 4.0
# Largest total height, mm: A0. PDF allows 5 m, a picture at 1,200 dpi 1.4 m.
TALLEST_MM = 1189.0


def draw_sheet(run: AtlasRun, request: SheetRequest) -> tuple[Page, list[Facts], str]:
    """Draw a sheet: returns the page, the facts of its atlases, and the caption.

    Raises: ConfigError: no class atlases in that layer or in the run; unknown layer, view or grid; more
            atlases than fit on one page.
    """
    chosen = _layers(run, request) if request.kind == "layers" else _classes(run, request)
    _check_number(len(chosen), request)
    facts = [_facts(run, layer, view, request.grid) for layer, view in chosen]
    width = request.size.width_mm
    title = title_lines(request.title or _title(facts[0], request), width)
    boxes = _panels(len(facts), width, head_height(title))
    caption = sheet_caption_of(facts)
    lines = wrapped(caption, POINTS, width - 2 * MARGIN)
    foot, alarm = boxes[-1].bottom + _GAP_MM / 2, facts[0].random_weights
    page = Page(width, foot + line_height(POINTS) * (len(lines) + 1.5 * alarm) + MARGIN, request.size.dpi)
    draw_head(page, title, f"{_number_words(facts, request)} · activations, median fidelity")
    for box, each in zip(boxes, facts, strict=True):
        _draw_panel(page, box, each, each.subject if request.kind == "classes" else each.atlas.layer)
    draw_caption(page, lines, foot, alarm=alarm)
    return page, facts, caption


def _number_words(facts: Sequence[Facts], request: SheetRequest) -> str:
    if len(facts) == 1:
        return {"layers": "1 layer", "classes": "1 class"}[request.kind]
    apart = "laid out together" if all(each.aligned for each in facts) else "each with a map of its own"
    return f"{len(facts)} {request.kind}, {apart}"


def _layers(run: AtlasRun, request: SheetRequest) -> list[tuple[str, str]]:
    """Layer and view of each layer atlas."""
    if request.layer is not None or request.views:
        raise ConfigError("--sheet layers shows all of every layer; leave --layer and --view out")
    layers = [layer for layer in run.layers if "all" in run.views[layer]]
    if not layers:
        raise ConfigError(f"run '{run.name}' has no atlas of a whole layer")
    return [(layer, "all") for layer in layers]


def _classes(run: AtlasRun, request: SheetRequest) -> list[tuple[str, str]]:
    views = {layer: [v for v in each if run.kinds[v] == "class"] for layer, each in run.views.items()}
    known = [layer for layer, each in views.items() if each]
    if not known:
        raise ConfigError(f"run '{run.name}' has no class atlases; ask for them in its config: classes: all")
    layer = request.layer or known[-1]
    if layer not in known:
        where = f"run '{run.name}' with class atlases"
        raise ConfigError(unknown_name("layer", layer, known, where, f"It has: {', '.join(known)}"))
    for view in request.views:
        if view not in views[layer]:
            where = f"the class atlases of layer '{layer}' in run '{run.name}'"
            remedy = f"It has: {', '.join(views[layer])}"
            raise ConfigError(unknown_name("view", view, views[layer], where, remedy))
    return [(layer, view) for view in request.views or views[layer]]


def _check_number(number: int, request: SheetRequest) -> None:
    """Refuse more atlases than a page can hold, before anything is read."""
    width = request.size.width_mm
    height = _panels(number, width, 0)[-1].bottom
    if height <= TALLEST_MM:
        return
    fewer = "name some: --view class-a,class-b" if request.kind == "classes" else "draw one by one: --layer"
    raise ConfigError(
        f"--sheet {request.kind}: {number:,} atlases are {height / 1000:.2f} m tall at --width-mm {width:g}, "
        f"but a page is at most {TALLEST_MM / 1000:.2f} m; {fewer}, or make it wider"
    )


def _facts(run: AtlasRun, layer: str, view: str, grid: int | None) -> Facts:
    return Facts(run, run.atlas(layer, view, run.grids(layer, view)[0] if grid is None else grid))


def _title(facts: Facts, request: SheetRequest) -> str:
    if request.kind == "layers":
        return f"Activation atlases: the layers of {facts.model}"
    return f"Class atlases: {facts.atlas.layer} of {facts.model}"


def _panels(number: int, width: float, top: float) -> list[Box]:
    """Boxes in rows of equal length, so that the sheet is about as high as it is wide."""
    inner = width - 2 * MARGIN
    most = max(1, int((inner + _GAP_MM) / (NARROWEST_MM + _GAP_MM)))
    # Up to three go side by side. More get about as many rows as columns, with a full last row if possible.
    wanted = min(most, number if number <= 3 else -(-number // max(1, round(number**0.5))))
    candidates = range(min(most, max(2, wanted - 1)), min(most, wanted + 1) + 1)
    sides = {n: (inner - _GAP_MM * (n - 1)) / n for n in (wanted, *candidates)}

    def badness(n: int) -> tuple[bool, int, int]:
        height = -(-number // n) * (sides[n] + _TEXT_MM + _GAP_MM) - _GAP_MM
        return height > TALLEST_MM, -number % n, abs(n - wanted)

    in_a_row = wanted if number <= 3 else min(candidates, key=badness)
    side, boxes = sides[in_a_row], []
    for panel in range(number):
        row, col = divmod(panel, in_a_row)
        y = top + row * (side + _TEXT_MM + _GAP_MM)
        boxes.append(Box(MARGIN + col * (side + _GAP_MM), y, side, side + _TEXT_MM))
    return boxes


def _draw_panel(page: Page, box: Box, facts: Facts, name: str) -> None:
    atlas, side = facts.atlas, box.width
    page.text(box.left, box.top + 2.6, fitted(name, POINTS + 0.5, side, bold=True), POINTS + 0.5, bold=True)
    fidelity = facts.median("fidelity")
    number = f"{atlas.num_activations:,}"
    words = [f"{number} activations"]
    if fidelity is not None:
        words = [f"{words[0]}, fidelity {fidelity:.2f}", f"{number}, fidelity {fidelity:.2f}", *words]
    page.text(box.left, box.top + 5.6, first_fitting(words, POINTS - 0.5, side), POINTS - 0.5, colour=MUTED)
    # Not atlas.image: the atlas would keep it in memory, half a gigabyte for each large grid.
    picture = atlas.reduced(max(1, int(side * page.dpi / 25.4)))
    page.picture(np.asarray(picture), box.left, box.top + _TEXT_MM, side, side)
