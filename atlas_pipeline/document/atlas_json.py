"""The JSON format of an atlas, ``activation-atlas/1``; ``check.atlas_schema`` describes it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from atlas_pipeline.document.cell_objects import json_number, plain_values
from atlas_pipeline.measures import table

SCHEMA_NAME = "activation-atlas/1"
# The line before the cells. Every later line is one cell, except the last, which closes the document.
_CELLS = b'"cells":['


def atlas_head(
    *,
    model: str,
    weights: str,
    random_weights: bool,
    layer: str,
    view: str,
    grid: int,
    icon_px: int,
    icon_shift_px: int,
    num_activations: int,
    layout: Mapping[str, Any],
    baselines: Mapping[str, Any],
    provenance: Mapping[str, Any],
    selection: Mapping[str, Any] | None = None,
    path_layers: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The document without its cells, as plain JSON values.

    Args: weights: a note of where the weights come from; it is stored in the provenance, as is
          ``random_weights``. icon_px: side of a cell in the picture. icon_shift_px: pixels by which an icon
          is moved before the network sees it, see `inversion.placement`. layout: quality measures of the
          layout, by name. baselines: see `baselines`. selection: how the view's activations were selected;
          None if the view shows all. path_layers: the layers of the measure path; None: the atlas lacks it.
    """
    return {
        "schema": SCHEMA_NAME,
        "model": model,
        "layer": layer,
        "view": view,
        "grid": int(grid),
        "icon_px": int(icon_px),
        "icon_shift_px": int(icon_shift_px),
        "num_activations": int(num_activations),
        **({} if selection is None else {"selection": plain_values(selection)}),
        "layout": plain_values(layout),
        **({} if path_layers is None else {"path_layers": list(path_layers)}),
        "baselines": dict(baselines),
        "provenance": {
            **plain_values(provenance),
            "weights": weights,
            "random_weights": bool(random_weights),
        },
    }


def baselines(
    num_cells: int,
    columns: Mapping[str, ArrayLike],
    real_crops: Mapping[str, float] | None = None,
    noise: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Reference values for the cells' measures: from noise, real activations, chance and real crops.

    Args:    columns: (cell,) measures whose medians are baselines, by name; NaN where not known. real_crops,
             noise: measures of real images and of images of noise, by name.
    Returns: Baseline name to value; None where no cell has a value.
    """
    declared = [baseline for measure in table.MEASURES for baseline in measure.baselines]
    noted = {"real crops": real_crops or {}, "noise": noise or {}}
    found: dict[str, Any] = {
        baseline.name: noted[baseline.source][baseline.name]
        for baseline in declared
        if baseline.name in noted.get(baseline.source, {})
    }
    for baseline in declared:
        if baseline.source == "median" and baseline.of in columns:
            values = np.asarray(columns[baseline.of], dtype=np.float64)
            known = values[np.isfinite(values)]
            found[baseline.name] = float(np.median(known)) if len(known) else math.nan
        elif baseline.source == "chance" and num_cells:
            found[baseline.name] = 1 / num_cells
    return {name: json_number(value) for name, value in found.items()}


def atlas_json(document: Mapping[str, Any]) -> bytes:
    """The document as UTF-8 JSON, compact, but with one line per cell so that two atlases can be diffed."""
    head = {key: value for key, value in document.items() if key != "cells"}
    return b"".join(document_json(head, [document["cells"]]))


def document_json(head: Mapping[str, Any], blocks: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[bytes]:
    """The bytes of ``atlas_json`` in pieces, for documents with too many cells for memory.

    Args: head: the document without its cells. blocks: the cells, several at a time.
    """

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    first = ",\n".join(f"{dumped(key)}:{dumped(value)}" for key, value in head.items())
    yield b"{" + first.encode() + b",\n" + _CELLS + b"\n"
    between = ""
    for block in blocks:
        if block:
            yield (between + ",\n".join(dumped(cell) for cell in block)).encode()
            between = ",\n"
    yield b"\n]}\n"


def document_numbers(lines: Iterable[bytes]) -> dict[str, Any]:
    """The document that the lines of an ``atlas_json`` hold, with only the numbers of each cell.

    Classes and examples of the cells are left out: they are nine tenths of a document, and half a gigabyte
    of Python objects for 100,000 cells.
    """
    rest, head = iter(lines), b""
    for line in rest:
        head += line
        if line.rstrip(b"\n") == _CELLS:
            break
    cells = (json.loads(line.rstrip(b",\n")) for line in rest if line.startswith(b"{"))
    numbers = [{name: v for name, v in cell.items() if not isinstance(v, list)} for cell in cells]
    return {**json.loads(head + b"]}"), "cells": numbers}
