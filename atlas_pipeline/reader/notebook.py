"""HTML that a notebook shows for a run, an atlas and its cells. It holds its pictures and sets no colours."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from atlas_pipeline.measures.measure import Measure
from atlas_pipeline.measures.table import MEASURES

if TYPE_CHECKING:
    from atlas_pipeline.reader.atlas import Atlas
    from atlas_pipeline.reader.cell import Cell, Gallery
    from atlas_pipeline.reader.run import AtlasRun

_ATLAS_PX, _THUMBNAIL_PX, _ICON_PX = 800, 96, 160
# Rows of a run's table, and cells of a gallery; more are counted only.
_MOST = 40
_SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start"
_SMALL = "font-size:90%;margin:4px 0"


def run_html(run: AtlasRun) -> str:
    """A table of the run's layers and views: each with its coarsest atlas as a picture and in numbers."""
    shown = [(layer, view) for layer, views in run.views.items() for view in views]
    head = ["", "layer", "view", "grids", "activations", "cells", "fidelity", "noise"]
    body = [_run_row(run, *one) for one in shown[:_MOST]]
    left = f"<p>and {len(shown) - _MOST:,} more: <code>run.views</code></p>" if len(shown) > _MOST else ""
    return f"<p><b>{escape(run.name)}</b></p>{_table(head, body)}{left}"


def _run_row(run: AtlasRun, layer: str, view: str) -> list[str]:
    grids = run.grids(layer, view)
    atlas = run.atlas(layer, view, grids[0])
    fidelity, noise = _fidelity(atlas)
    return [
        _image(atlas.reduced(_THUMBNAIL_PX), f"atlas of {layer}, {view}", _THUMBNAIL_PX),
        escape(layer) + (" <b>(random weights)</b>" if atlas.provenance.get("random_weights") else ""),
        escape(view),
        ", ".join(map(str, grids)),
        f"{atlas.num_activations:,}",
        f"{len(atlas.document['cells']):,}",
        fidelity,
        noise,
    ]


def atlas_html(atlas: Atlas) -> str:
    """The picture of an atlas, with its numbers below."""
    fidelity, noise = _fidelity(atlas)
    cells = f"{len(atlas.document['cells']):,} cells of {atlas.num_activations:,} activations"
    words = [
        f"<b>{escape(atlas.layer)}</b>, {escape(atlas.view)}, grid {atlas.grid}: {cells}",
        f"median fidelity {fidelity} (noise {noise})",
        *(["<b>random weights</b>"] if atlas.provenance.get("random_weights") else []),
    ]
    picture = _image(atlas.reduced(_ATLAS_PX), f"atlas of {atlas.layer}, {atlas.view}", _ATLAS_PX)
    return f'<div>{picture}<p style="{_SMALL}">{"; ".join(words)}</p></div>'


def cell_html(cell: Cell) -> str:
    """A cell's icon, the real patches nearest its mean, its numbers and its classes."""
    pictures = [_pictured(cell.icon, "icon")]
    if cell.patches is not None:
        pictures.append(_pictured(cell.patches, "real patches nearest the mean"))
    parts = [*pictures, _table([], list(_measured(cell)))]
    if classes := cell.numbers["classes"]:
        rows = [[escape(str(one["label"] or one["index"])), f"{one['attribution']:.3g}"] for one in classes]
        parts.append(_table(["speaks for", "logits"], rows))
    head = f"{escape(cell.layer)}, {escape(cell.view)}: cell ({cell.row}, {cell.col}) of grid {cell.grid}"
    return f'<p style="{_SMALL}">{head}</p><div style="{_SIDE_BY_SIDE}">{"".join(parts)}</div>'


def gallery_html(cells: Gallery) -> str:
    """The icons of several cells beside their real patches, each with its class, fidelity and place."""
    shown = "".join(_in_gallery(cells[number]) for number in range(min(len(cells), _MOST)))
    left = f"<p>and {len(cells) - _MOST:,} more</p>" if len(cells) > _MOST else ""
    return f'<div style="{_SIDE_BY_SIDE}">{shown}</div>{left}'


def _in_gallery(cell: Cell) -> str:
    pictures = [_image(cell.icon, "icon", _ICON_PX // 2)]
    if cell.patches is not None:
        pictures.append(_image(cell.patches, "real patches", _ICON_PX // 2))
    label = cell.numbers["label"]
    words = [f"<b>{escape(label)}</b>"] if isinstance(label, str) else []
    words += [f"fidelity {cell.numbers['fidelity']:.2f}", f"cell ({cell.row}, {cell.col})"]
    return f'<div>{"".join(pictures)}<p style="{_SMALL}">{"<br>".join(words)}</p></div>'


def _pictured(image: Image.Image, words: str) -> str:
    return f'<div>{_image(image, words, _ICON_PX)}<p style="{_SMALL}">{words}</p></div>'


def _measured(cell: Cell) -> Iterator[list[str]]:
    """Name, value and references of each measure that the viewer's panel shows as well."""
    numbers, kinds = cell.numbers, {measure.name: measure for measure in MEASURES}
    yield ["activations", f"{int(numbers['count']):,}", ""]
    for measure in MEASURES:
        if measure.viewer is None or not measure.viewer.panel or not _is_known(numbers.get(measure.name)):
            continue
        beside = [
            f"{words} {_shown(kinds[name], numbers[name])}"
            for name, words in measure.viewer.beside
            if _is_known(numbers.get(name))
        ]
        value = _shown(measure, numbers[measure.name])
        yield [measure.viewer.panel.lower(), value, ", ".join(filter(None, [measure.viewer.note, *beside]))]


def _is_known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def _shown(measure: Measure, value: float) -> str:
    if measure.kind == "rank":
        return "own cell" if value == 0 else f"rank {int(value) + 1}"
    return f"{value:.0%}" if measure.kind == "share" else f"{value:.2f}"


def _fidelity(atlas: Atlas) -> tuple[str, str]:
    """The median over the cells, and the baseline of noise."""
    known = [cell["fidelity"] for cell in atlas.document["cells"] if cell["fidelity"] is not None]
    noise = atlas.document["baselines"].get("fidelity_noise")
    return f"{np.median(known):.2f}" if known else "–", "–" if noise is None else f"{noise:.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the texts are HTML."""
    top = f"<tr>{''.join(f'<th>{one}</th>' for one in head)}</tr>" if head else ""
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _image(image: Image.Image, words: str, width_px: int) -> str:
    """A picture in the page itself, ``width_px`` wide."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    content = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{content}" alt="{escape(words)}" width="{width_px}" '
        'style="display:inline-block;margin:0 4px 0 0">'
    )
