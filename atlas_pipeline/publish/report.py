"""report.html: a page with the numbers, pictures and provenance of a run, which needs no network or server.

All names and labels are escaped, and the page's content security policy allows only its own script.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from itertools import groupby
from string import Template

from atlas_pipeline.measures.measure import Column
from atlas_pipeline.publish.entries import AtlasEntry, RunSummary
from atlas_pipeline.publish.report_columns import columns_of, large_columns
from atlas_pipeline.publish.report_studies import figure_sections, link_to, page_sections

# Width of the page's column. A picture at most half as wide is enlarged by a whole factor.
_COLUMN_PX = 1280


def report_page(run: RunSummary, entries: Sequence[AtlasEntry]) -> str:
    """The page as HTML.

    Args:    entries: in the order of the page; entries of one layer and view are consecutive.
    Raises:  ValueError: no entries.
    """
    if not entries:
        raise ValueError("a page needs at least one atlas")
    script, anchors = _asset("report.js"), _anchors(entries)
    columns = columns_of(entries)
    both = list(zip(entries, anchors, strict=True))
    return Template(_asset("report.html")).substitute(
        title=escape(
            f"{run.weights} · {run.name}" if run.random_weights else f"{run.name} · activation atlas"
        ),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=_asset("report.css"),
        banner=_banner(run) if run.random_weights else "",
        back='<p class="back"><a href="./index.html">← Back to the map</a></p>\n' if run.has_viewer else "",
        name=escape(run.name),
        lede=_lede(run, entries),
        picker=_picker(both),
        atlases="".join(_atlas(run, entry, anchor) for entry, anchor in both),
        heads="<th>atlas</th>" + "".join(f"<th>{escape(c.heading)}</th>" for c in columns),
        rows="".join(_row(entry, anchor, columns) for entry, anchor in both),
        meanings=_meanings(columns),
        provenance=_provenance(run),
        studies=page_sections(run) + figure_sections(run),
        footer=" · ".join(
            f'<a href="{link_to(path)}">{escape(words)}</a>' for words, path in run.sheets.items()
        ),
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _anchors(entries: Sequence[AtlasEntry]) -> list[str]:
    """A unique, readable URL fragment for each entry."""
    anchors: list[str] = []
    for entry in entries:
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{entry.layer}.{entry.view}.{entry.grid}")
        anchors.append(plain if plain not in anchors else f"{plain}.{len(anchors)}")
    return anchors


def _titled(entry: AtlasEntry) -> str:
    return entry.layer if entry.view == "all" else f"{entry.layer}, {entry.view}"


def _banner(run: RunSummary) -> str:
    return (
        f'<div class="alarm" role="alert"><p>{escape(run.weights)}. <span>This network was never trained: '
        "the pictures show what its architecture and chance make of the images, nothing that it has learned."
        "</span></p></div>\n"
    )


def _lede(run: RunSummary, entries: Sequence[AtlasEntry]) -> str:
    num_layers = len({entry.layer for entry in entries})
    layers = f"{num_layers} layers" if num_layers > 1 else f"layer <b>{escape(entries[0].layer)}</b>"
    return (
        f"What {layers} of <b>{escape(run.model)}</b> respond{'s' if num_layers == 1 else ''} to in "
        f"{escape(run.images)}. {escape(run.weights[:1].upper() + run.weights[1:])}."
    )


def _picker(both: Sequence[tuple[AtlasEntry, str]]) -> str:
    groups = []
    for (layer, view), members in groupby(both, key=lambda pair: (pair[0].layer, pair[0].view)):
        listed = list(members)
        density = listed[0][0].density
        thumbnail = f'<img src="{link_to(density)}" alt="" loading="lazy">' if density else ""
        below = "" if view == "all" else f"<small>{escape(view)}</small>"
        links = " ".join(
            f'<a href="#{anchor}" title="{entry.grid} × {entry.grid} grid">{entry.grid}</a>'
            for entry, anchor in listed
        )
        groups.append(
            f'<div class="layer">{thumbnail}<div><p>{escape(layer)}{below}</p>{links}</div></div>\n'
        )
    return "".join(groups)


def _atlas(run: RunSummary, entry: AtlasEntry, anchor: str) -> str:
    times = max(1, _COLUMN_PX // entry.width_px)
    return Template(_asset("report_atlas.html")).substitute(
        anchor=anchor,
        title=escape(_titled(entry)),
        grid=f"{entry.grid} × {entry.grid}",
        atlas=link_to(entry.atlas),
        shown=link_to(entry.preview or entry.atlas),
        pixels=' class="pixels"' if times > 1 else "",
        max_width=entry.width_px * times,
        num_cells=f"{entry.num_cells:,}",
        num_activations=f"{entry.num_activations:,}",
        model=escape(run.model),
        layer=escape(entry.layer),
        never=f" <b>{escape(run.weights)}.</b>" if run.random_weights else "",
        document=link_to(entry.document),
        figures=_large(entry),
        pair=_pair(entry),
    )


def _large(entry: AtlasEntry) -> str:
    parts = []
    for column, lines in large_columns():
        value = _shown(column, entry)
        if value == "–":
            continue
        beneath = [(lower.large, _shown(lower, entry)) for lower in lines]
        small = "".join(f"<small>{escape(below)} {lower}</small>" for below, lower in beneath if lower != "–")
        parts.append(f"<div><dt>{escape(column.large)}</dt><dd>{value}{small}</dd></div>")
    return f'<dl class="figures">{"".join(parts)}</dl>\n' if parts else ""


def _pair(entry: AtlasEntry) -> str:
    words = {
        "density": "<b>Density.</b> Activations per area; the colour follows the square root.",
        "scatter": "<b>Activations.</b> One dot each, in the colour of the image's class if it has one.",
    }
    figures = []
    for kind, path in (("density", entry.density), ("scatter", entry.scatter)):
        if path is not None:
            image = f'<img src="{link_to(path)}" alt="{kind} of the layout" loading="lazy">'
            figures.append(
                f'<figure><a href="{link_to(path)}" title="Open at full size">{image}</a>'
                f"<figcaption>{words[kind]}</figcaption></figure>\n"
            )
    return f'<div class="pair">\n{"".join(figures)}</div>\n' if figures else ""


def _shown(column: Column, entry: AtlasEntry) -> str:
    return column.shown(entry.numbers.get(column.name))


def _row(entry: AtlasEntry, anchor: str, columns: Sequence[Column]) -> str:
    head = f'<td><a href="#{anchor}">{escape(_titled(entry))} · {entry.grid}</a></td>'
    return f"<tr>{head}{''.join(f'<td>{_shown(c, entry)}</td>' for c in columns)}</tr>\n"


def _meanings(columns: Sequence[Column]) -> str:
    def one(column: Column) -> str:
        return f"<div><dt>{escape(column.heading)}</dt><dd>{escape(column.meaning)}</dd></div>\n"

    return f'<dl class="meanings">\n{"".join(one(c) for c in columns if c.meaning)}</dl>\n'


def _provenance(run: RunSummary) -> str:
    lines = []
    for name, value in {
        "model": run.model,
        "weights": run.weights,
        "images": run.images,
        **run.provenance,
    }.items():
        if isinstance(value, dict | list | tuple):
            shown = f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False, default=str))}</pre>"
        else:
            text = str(value)
            shown = f"<pre>{escape(text)}</pre>" if "\n" in text else escape(text)
        lines.append(f"<dt>{escape(str(name))}</dt><dd>{shown}</dd>\n")
    return "".join(lines)
