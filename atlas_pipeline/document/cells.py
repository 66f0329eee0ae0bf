"""The cells of an atlas document: columns of numbers into an object a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from atlas_pipeline.measures.table import in_document_order

NUM_CLASSES_SHOWN = 5
# Of the cells' numbers: more digits than any of them means, and half the bytes of float64's own.
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What is known of the cells that have an icon, a column each; NaN for a number that could not be had.

    Attributes: row, col, count: (cell,) integers, row 0 on top. measures: (cell,) each, by name; those of
                the table alone are written. examples: for each cell its nearest activations as {image_id,
                row, col, key?}. attribution: (cell, class) means, None where there are none.
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
    """Plain JSON values, a mapping a cell, in the order given.

    Args:    labels: by class index; None where the network has none. class_indices: the class of each
             column of the cells' attribution; None: the columns are the classes.
    Raises:  ValueError: columns of different lengths.
    """
    numbers = {"row": cells.row, "col": cells.col, "count": cells.count}
    for measure in in_document_order():
        if measure.name in cells.measures:
            numbers[measure.name] = cells.measures[measure.name]
    columns: dict[str, list[Any]] = {
        name: [json_number(v) for v in np.asarray(values).tolist()] for name, values in numbers.items()
    }
    columns["classes"] = _classes(cells, labels, class_indices)
    columns["examples"] = [[plain_values(example) for example in of_cell] for of_cell in cells.examples]
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
    # Stable: of two equal classes the first. NaN sorts last and is left out.
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


def json_number(value: float) -> float | int | None:
    """A cell's number to as many digits as it means; None for NaN."""
    if isinstance(value, int):
        return value
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None


def plain_values(value: Any) -> Any:
    """Numpy scalars and arrays, tuples and NaN to what JSON has."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
