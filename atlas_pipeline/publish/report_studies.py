"""The report's sections on what looks closer than an atlas: pages of units, atoms and pictures; figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby
from urllib.parse import quote

from atlas_pipeline.publish.entries import RunSummary
from atlas_pipeline.stages.dreams.dream import VIEW as DREAMS
from atlas_pipeline.tables.atom_table import DIRECTIONS
from atlas_pipeline.tables.tuning_table import TUNING
from atlas_pipeline.viewer.picture_card import PICTURE_FILE

# Headings of figures by their folder below a layer's; class figures lie in the folders of views.
_HEADINGS = {DIRECTIONS: "Directions: what no atom explains", TUNING: "Tuning", DREAMS: "Dreams"}
_CLASSES = "Classes"


def link_to(path: str) -> str:
    """A path below the run's folder as the address of a link, escaped."""
    # The leading "./" makes sure that a path is not read as "//host" or "javascript:".
    return escape("./" + quote(path))


def page_sections(run: RunSummary) -> str:
    """The sections that lead to the pages of units, atoms and pictures; "" if there are none."""
    return _layers("units", "unit", run.units) + _layers("directions", "atom", run.atoms) + _pictures(run)


def _layers(folder: str, noun: str, layers: Mapping[str, int]) -> str:
    """The layers with pages of units or atoms, each with their number."""
    links = "".join(
        f'<a href="./{folder}/index.html#{escape(f"layer={quote(layer)}")}"><b>{escape(layer)}</b>'
        f"<small>{num:,} {noun if num == 1 else f'{noun}s'}</small></a>\n"
        for layer, num in layers.items()
    )
    return _section(folder, folder.title(), f'<div class="cards">\n{links}</div>\n') if links else ""


def _pictures(run: RunSummary) -> str:
    links = "".join(
        f'<a href="{link_to(f"{folder}/index.html")}">'
        f'<img src="{link_to(f"{folder}/{PICTURE_FILE}")}" alt="" loading="lazy"><b>{escape(card.file)}</b>'
        f"<small>{escape(card.label)}, {card.probability:.0%}</small></a>\n"
        for folder, card in run.pictures.items()
    )
    return _section("pictures", "Pictures", f'<div class="cards">\n{links}</div>\n') if links else ""


def figure_sections(run: RunSummary) -> str:
    """The sections of figures: of single classes, tuning, dreams; "" if there are none."""
    order = [_CLASSES, *_HEADINGS.values()]
    paths = sorted(run.figures, key=lambda path: order.index(_heading(path)))
    return "".join(
        _section(_anchor(heading), heading, _figures(found))
        for heading, found in groupby(paths, key=_heading)
    )


def _anchor(heading: str) -> str:
    # The pages of directions have an anchor of that name.
    return {_CLASSES: "figures", _HEADINGS[DIRECTIONS]: "unexplained"}.get(heading, heading.lower())


def _heading(path: str) -> str:
    return _HEADINGS.get(path.split("/")[1], _CLASSES)


def _figures(paths: Iterable[str]) -> str:
    shown = []
    for path in paths:
        words = escape(" · ".join(reversed(path.removesuffix(".png").split("/"))))
        image = f'<img src="{link_to(path)}" alt="{words}" loading="lazy">'
        shown.append(
            f'<figure><a href="{link_to(path)}" title="Open at full size">{image}</a>'
            f"<figcaption>{words}</figcaption></figure>\n"
        )
    return f'<div class="pair">\n{"".join(shown)}</div>\n'


def _section(anchor: str, heading: str, body: str) -> str:
    return f'<section class="prose" id="{anchor}">\n<h2>{heading}</h2>\n{body}</section>\n'
