"""Contact sheets: the atlases of all layers, or of all classes in one layer, each under its name."""

from __future__ import annotations

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

# Of a panel: the narrowest in which an atlas can be read; its two lines of words; the room between two.
NARROWEST_MM, _WORDS, _GAP = 27.0, 7.0, 4.0
# All panels together are no taller: A0. A PDF ends at 5 m, a picture of 1,200 dpi at 1.4 m.
TALLEST_MM = 1189.0


def draw_sheet(run: AtlasRun, request: SheetRequest) -> tuple[Page, list[Facts], str]:
    """The page, the facts of its atlases, and its caption.

    Raises: ConfigError: no class atlases, in that layer or at all; an unknown layer, view or grid; more than
            one page holds.
    """
    chosen = _layers(run, request) if request.kind == "layers" else _classes(run, request)
    _check_number(len(chosen), request)
    facts = [_facts(run, layer, view, request.grid) for layer, view in chosen]
    width = request.size.width_mm
    title = title_lines(request.title or _title(facts[0], request), width)
    boxes = _panels(len(facts), width, head_height(title))
    caption = sheet_caption_of(facts)
    lines = wrapped(caption, POINTS, width - 2 * MARGIN)
    foot, alarm = boxes[-1].bottom + _GAP / 2, facts[0].random_weights
    page = Page(width, foot + line_height(POINTS) * (len(lines) + 1.5 * alarm) + MARGIN, request.size.dpi)
    apart = "laid out together" if all(of.aligned for of in facts) else "each with a map of its own"
    draw_head(page, title, f"{len(facts)} {request.kind}, {apart} · activations, median fidelity")
    for box, of in zip(boxes, facts, strict=True):
        _draw_panel(page, box, of, of.subject if request.kind == "classes" else of.atlas.layer)
    draw_caption(page, lines, foot, alarm=alarm)
    return page, facts, caption


def _layers(run: AtlasRun, request: SheetRequest) -> list[tuple[str, str]]:
    """Layer and view of each atlas."""
    if request.layer is not None or request.views:
        raise ConfigError("--sheet layers shows all of every layer; leave --layer and --view out")
    layers = [layer for layer in run.layers if "all" in run.views[layer]]
    if not layers:
        raise ConfigError(f"run '{run.name}' has no atlas of a whole layer")
    return [(layer, "all") for layer in layers]


def _classes(run: AtlasRun, request: SheetRequest) -> list[tuple[str, str]]:
    views = {layer: [v for v in of if run.kinds[v] == "class"] for layer, of in run.views.items()}
    known = [layer for layer, of in views.items() if of]
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
    """Refuse before anything is read what no page holds."""
    width = request.size.width_mm
    height = _panels(number, width, 0)[-1].bottom
    if height <= TALLEST_MM:
        return
    fewer = "name some: --view class-a,class-b" if request.kind == "classes" else "draw one by one: --layer"
    raise ConfigError(
        f"--sheet {request.kind}: {number:,} atlases are {height / 1000:.2f} m tall at --width-mm {width:g}, "
        f"a page at most {TALLEST_MM / 1000:.2f}; {fewer}, or make it wider"
    )


def _facts(run: AtlasRun, layer: str, view: str, grid: int | None) -> Facts:
    return Facts(run, run.atlas(layer, view, run.grids(layer, view)[0] if grid is None else grid))


def _title(facts: Facts, request: SheetRequest) -> str:
    if request.kind == "layers":
        return f"Activation atlases: the layers of {facts.model}"
    return f"Class atlases: {facts.atlas.layer} of {facts.model}"


def _panels(number: int, width: float, top: float) -> list[Box]:
    """Boxes in rows of equal length, as many in a row as make the sheet about as high as it is wide."""
    inner = width - 2 * MARGIN
    most = max(1, int((inner + _GAP) / (NARROWEST_MM + _GAP)))
    # Up to three stand side by side; more make about as many rows as columns, the last one full if it can be.
    wanted = min(most, number if number <= 3 else -(-number // max(1, round(number**0.5))))
    near = range(min(most, max(2, wanted - 1)), min(most, wanted + 1) + 1)
    sides = {n: (inner - _GAP * (n - 1)) / n for n in (wanted, *near)}

    def unfit(n: int) -> tuple[bool, int, int]:
        height = -(-number // n) * (sides[n] + _WORDS + _GAP) - _GAP
        return height > TALLEST_MM, -number % n, abs(n - wanted)

    in_a_row = wanted if number <= 3 else min(near, key=unfit)
    side, boxes = sides[in_a_row], []
    for panel in range(number):
        row, col = divmod(panel, in_a_row)
        y = top + row * (side + _WORDS + _GAP)
        boxes.append(Box(MARGIN + col * (side + _GAP), y, side, side + _WORDS))
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
    # Not the atlas's own image, which it would keep: of large grids half a gigabyte each.
    picture = atlas.reduced(max(1, int(side * page.dpi / 25.4)))
    page.picture(np.asarray(picture), box.left, box.top + _WORDS, side, side)
