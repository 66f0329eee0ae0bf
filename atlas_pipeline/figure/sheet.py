"""Contact sheets: the atlases of all layers, or of all classes in one layer, each under its name."""

from __future__ import annotations

from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.figure.arrangement import MARGIN, Box
from atlas_pipeline.figure.atlas_figure import draw_caption, draw_head, head_height, title_lines
from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.figure.lettering import first_fitting, fitted, line_height, wrapped
from atlas_pipeline.figure.page import MUTED, Page
from atlas_pipeline.figure.pictures import sheet_picture
from atlas_pipeline.figure.request import SheetRequest
from atlas_pipeline.figure.side_panels import POINTS
from atlas_pipeline.figure.words import sheet_caption_of
from atlas_pipeline.reader.atlas import Atlas
from atlas_pipeline.reader.run import AtlasRun

# Of a panel: the narrowest in which an atlas can be read; its two lines of words; the room between two.
NARROWEST_MM, _WORDS, _GAP = 27.0, 7.0, 4.0


def draw_sheet(run: AtlasRun, request: SheetRequest) -> tuple[Page, list[Facts], str]:
    """The page, the facts of its atlases, and its caption.

    Raises: ConfigError: no class atlases, in that layer or at all; an unknown layer or grid.
    """
    atlases = _layers(run, request) if request.kind == "layers" else _classes(run, request)
    facts = [Facts(run, atlas) for atlas in atlases]
    width = request.size.width_mm
    title = title_lines(request.title or _title(facts[0], request), width)
    boxes = _panels(len(atlases), width, head_height(title))
    caption = sheet_caption_of(facts)
    lines = wrapped(caption, POINTS, width - 2 * MARGIN)
    foot, alarm = boxes[-1].bottom + _GAP / 2, facts[0].random_weights
    page = Page(width, foot + line_height(POINTS) * (len(lines) + 1.5 * alarm) + MARGIN, request.size.dpi)
    apart = "laid out together" if facts[0].aligned else "each with a map of its own"
    draw_head(page, title, f"{len(atlases)} {request.kind}, {apart} · activations, median fidelity")
    for box, of in zip(boxes, facts, strict=True):
        _draw_panel(page, box, of, of.subject if request.kind == "classes" else of.atlas.layer)
    draw_caption(page, lines, foot, alarm=alarm)
    return page, facts, caption


def _layers(run: AtlasRun, request: SheetRequest) -> list[Atlas]:
    if request.layer is not None:
        raise ConfigError("--sheet layers shows every layer; leave --layer out")
    layers = [layer for layer in run.layers if "all" in run.views[layer]]
    if not layers:
        raise ConfigError(f"run '{run.name}' has no atlas of a whole layer")
    return [_atlas(run, layer, "all", request.grid) for layer in layers]


def _classes(run: AtlasRun, request: SheetRequest) -> list[Atlas]:
    views = {layer: [v for v in of if v.startswith("class-")] for layer, of in run.views.items()}
    known = [layer for layer, of in views.items() if of]
    if not known:
        raise ConfigError(f"run '{run.name}' has no class atlases; ask for them in its config: classes: all")
    layer = request.layer or known[-1]
    if layer not in known:
        where = f"run '{run.name}' with class atlases"
        raise ConfigError(unknown_name("layer", layer, known, where, f"It has: {', '.join(known)}"))
    return [_atlas(run, layer, view, request.grid) for view in views[layer]]


def _atlas(run: AtlasRun, layer: str, view: str, grid: int | None) -> Atlas:
    return run.atlas(layer, view, run.grids(layer, view)[0] if grid is None else grid)


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
    near = range(max(1, wanted - 1), min(most, wanted + 1) + 1)
    in_a_row = wanted if number <= 3 else min(near, key=lambda n: (-number % n, abs(n - wanted)))
    side = (inner - _GAP * (in_a_row - 1)) / in_a_row
    boxes = []
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
    picture = sheet_picture(atlas, max(1, int(side * page.dpi / 25.4)))
    page.picture(picture, box.left, box.top + _WORDS, side, side)
