"""The atlas as JSON, for programs: ``activation-atlas/1``, described by ``atlas.schema.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SCHEMA_NAME = "activation-atlas/1"
NUM_CLASSES_SHOWN = 5
# Of the cells' numbers: more digits than any of them means, and half the bytes of float64's own.
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What is known of the cells that have an icon, a column each; NaN for a number that could not be had.

    Attributes: row, col, count: (cell,) integers, row 0 on top. coherence, fidelity, fidelity_whitened:
                (cell,). round_trip: (cell,) integers. attribution: (cell, class) means, None where there are
                none. examples: for each cell its nearest activations as {image_id, row, col, key?}.
                The others: (cell,), left out where None.
    """

    row: ArrayLike
    col: ArrayLike
    count: ArrayLike
    coherence: ArrayLike
    fidelity: ArrayLike
    fidelity_whitened: ArrayLike
    round_trip: ArrayLike
    examples: Sequence[Sequence[Mapping[str, Any]]]
    attribution: ArrayLike | None = None
    consistency: ArrayLike | None = None
    nearest: ArrayLike | None = None
    noise: ArrayLike | None = None
    saturated: ArrayLike | None = None
    spectrum_distance: ArrayLike | None = None
    colour_distance: ArrayLike | None = None


_INTEGERS = ("row", "col", "count", "round_trip")
_NUMBERS = (
    "coherence",
    "consistency",
    "fidelity",
    "fidelity_whitened",
    "nearest",
    "noise",
    "saturated",
    "spectrum_distance",
    "colour_distance",
)


def atlas_document(
    *,
    model: str,
    weights: str,
    random_weights: bool,
    layer: str,
    view: str,
    grid: int,
    icon_px: int,
    num_activations: int,
    layout: Mapping[str, Any],
    provenance: Mapping[str, Any],
    cells: Cells,
    labels: Sequence[str] | None = None,
    class_indices: Sequence[int] | None = None,
    real_crops: Mapping[str, float] | None = None,
    selection: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The atlas as plain JSON values, cells in the order given.

    Args:    weights: the note of where they come from; with ``random_weights`` it joins the provenance.
             icon_px: side of a cell in the picture. layout: its quality by name. labels: by class index;
             None where the network has none. class_indices: the class of each column of the cells'
             attribution; None: the columns are the classes. real_crops: saturated, spectrum_distance and
             colour_distance of real images. selection: how the activations of a view were chosen.
    Raises:  ValueError: columns of different lengths.
    """
    return {
        "schema": SCHEMA_NAME,
        "model": model,
        "layer": layer,
        "view": view,
        "grid": int(grid),
        "icon_px": int(icon_px),
        "num_activations": int(num_activations),
        **({} if selection is None else {"selection": _plain(selection)}),
        "layout": _plain(layout),
        "baselines": _baselines(cells, real_crops),
        "provenance": {**_plain(provenance), "weights": weights, "random_weights": bool(random_weights)},
        "cells": _cells(cells, labels, class_indices),
    }


def atlas_json(document: Mapping[str, Any]) -> bytes:
    """The document as UTF-8 JSON, one cell a line: small enough to load, and a diff of two atlases reads."""

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    head = [f"{dumped(key)}:{dumped(value)}" for key, value in document.items() if key != "cells"]
    cells = ",\n".join(dumped(cell) for cell in document["cells"])
    return ("{" + ",\n".join(head) + ',\n"cells":[\n' + cells + "\n]}\n").encode()


def _baselines(cells: Cells, real_crops: Mapping[str, float] | None) -> dict[str, Any]:
    """What the cells' numbers are to be held against: of noise, of real activations, by chance, of crops."""
    baselines: dict[str, Any] = dict(real_crops or {})
    for name in ("noise", "nearest"):
        if getattr(cells, name) is not None:
            values = np.asarray(getattr(cells, name), dtype=np.float64)
            known = values[np.isfinite(values)]
            baselines[f"fidelity_{name}"] = float(np.median(known)) if len(known) else math.nan
    if num_cells := len(np.asarray(cells.row)):
        baselines["round_trip"] = 1 / num_cells
    return {name: _number(value) for name, value in baselines.items()}


def _cells(
    cells: Cells, labels: Sequence[str] | None, class_indices: Sequence[int] | None
) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {}
    for name in (*_INTEGERS, *_NUMBERS):
        values = getattr(cells, name)
        if values is not None:
            columns[name] = [_number(v) for v in np.asarray(values).tolist()]
    columns["classes"] = _classes(cells, labels, class_indices)
    columns["examples"] = [[_plain(example) for example in of_cell] for of_cell in cells.examples]
    if len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"columns differ in length: { {name: len(v) for name, v in columns.items()} }")
    order = ["row", "col", "count", *(n for n in columns if n not in ("row", "col", "count"))]
    return [
        dict(zip(order, values, strict=True)) for values in zip(*(columns[n] for n in order), strict=True)
    ]


def _classes(
    cells: Cells, labels: Sequence[str] | None, class_indices: Sequence[int] | None
) -> list[list[dict[str, Any]]]:
    if cells.attribution is None:
        return [[] for _ in np.asarray(cells.row)]
    attribution = np.asarray(cells.attribution, dtype=np.float64)
    index = np.arange(attribution.shape[1]) if class_indices is None else np.asarray(class_indices)
    if len(index) != attribution.shape[1]:
        raise ValueError(f"{len(index)} class indices for {attribution.shape[1]} columns of attribution")
    # Stable: of two equal classes the first. NaN sorts last and is left out.
    strongest = np.argsort(-attribution, axis=1, kind="stable")[:, :NUM_CLASSES_SHOWN]
    return [
        [
            {
                "index": int(index[c]),
                "label": None if labels is None else labels[index[c]],
                "attribution": _number(row[c]),
            }
            for c in best
            if np.isfinite(row[c])
        ]
        for row, best in zip(attribution, strongest, strict=True)
    ]


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays, tuples and NaN to what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
