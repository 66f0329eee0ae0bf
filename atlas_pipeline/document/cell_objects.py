"""The cells of an atlas document: columns of numbers converted to one JSON object per cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from atlas_pipeline.measures.table import in_document_order

NUM_CLASSES_SHOWN = 5
# More digits than are meaningful in any measure, at half the bytes of a full float64.
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """The cells that have an icon, as columns. NaN stands for a number that could not be computed.

    Attributes: row, col, count: (cell,) integers, row 0 on top. measures: (cell,) each, by name; measures
                that are not in the table are not written. examples: the nearest activations of each cell
                as {image_id, row, col, key?}. attribution: (cell, class) mean attribution, logits; None
                without attributions.
    """

    row: ArrayLike
    col: ArrayLike
    count: ArrayLike
    measures: Mapping[str, ArrayLike]
    examples: Sequence[Sequence[Mapping[str, Any]]]
    attribution: ArrayLike | None = None


def cell_objects(
    cells: Cells, labels: Sequence[str] | None = None, class_indices: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """One mapping of plain JSON values per cell, in the order of the cells.

    Args:    labels: by class index; None if the network has none. class_indices: class index of each
             column of the attribution; None: column c is class c.
    Raises:  ValueError: columns of different lengths, or class_indices that do not match the attribution.
    """
    numbers = {"row": cells.row, "col": cells.col, "count": cells.count}
    for measure in in_document_order():
        if measure.name in cells.measures:
            numbers[measure.name] = cells.measures[measure.name]
    columns: dict[str, list[Any]] = {
        name: [json_number(v) for v in np.asarray(values).tolist()] for name, values in numbers.items()
    }
    columns["classes"] = _classes(cells, labels, class_indices)
    columns["examples"] = [[plain_values(example) for example in examples] for examples in cells.examples]
    if len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"columns differ in length: { {name: len(v) for name, v in columns.items()} }")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _classes(
    cells: Cells, labels: Sequence[str] | None, class_indices: Sequence[int] | None
) -> list[list[dict[str, Any]]]:
    if cells.attribution is None:
        return [[] for _ in np.asarray(cells.row)]
    attribution = np.asarray(cells.attribution, dtype=np.float64)
    index = np.arange(attribution.shape[1]) if class_indices is None else np.asarray(class_indices)
    if len(index) != attribution.shape[1]:
        raise ValueError(f"{len(index)} class indices for {attribution.shape[1]} columns of attribution")
    # The stable sort puts the first of two equal classes first. NaN sorts last and is left out below.
    strongest = np.argsort(-attribution, axis=1, kind="stable")[:, :NUM_CLASSES_SHOWN]
    return [
        [
            {
                "index": int(index[c]),
                "label": None if labels is None else labels[index[c]],
                "attribution": json_number(row[c]),
            }
            for c in best
            if np.isfinite(row[c])
        ]
        for row, best in zip(attribution, strongest, strict=True)
    ]


def json_number(value: Any) -> Any:
    """A cell's number, rounded to its significant digits; None for NaN and infinities; a list for a list."""
    if isinstance(value, list):
        return [json_number(each) for each in value]
    if isinstance(value, int):
        return value
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def plain_values(value: Any) -> Any:
    """The value with numpy scalars, arrays, tuples and NaN converted to JSON types; NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
