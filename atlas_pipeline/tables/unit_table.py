"""The state of a layer's units as a table, a row a unit, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.numerics.unit_state import FIELDS, UnitState

_VECTORS = {
    "counts": (pa.int64(), "bin"),
    "sums": (pa.float64(), "bin"),
    "top_image": (pa.int64(), "example"),
    "top_value": (pa.float32(), "example"),
    "top_place": (pa.int32(), "example"),
    "range_key": (pa.uint64(), "example"),
    "range_image": (pa.int64(), "example"),
    "range_value": (pa.float32(), "example"),
    "range_place": (pa.int32(), "example"),
}
_SCALARS = {
    "num_images": pa.int64(),
    "num_firing": pa.int64(),
    "num_positive": pa.int64(),
    "total": pa.float64(),
    "squares": pa.float64(),
    "least": pa.float32(),
}
STATE_COLUMNS = (
    *(Column(name, of_type) for name, of_type in _SCALARS.items()),
    *(Column(name, Vector((of_type,), axis)) for name, (of_type, axis) in _VECTORS.items()),
)


def state_columns(state: UnitState) -> dict[str, Any]:
    """The columns of a state. The examples of a unit's ranges are one vector: range by range."""
    columns: dict[str, Any] = {name: pa.array(getattr(state, name), of) for name, of in _SCALARS.items()}
    for name, (of_type, _) in _VECTORS.items():
        values = np.ascontiguousarray(getattr(state, name))
        flat = values.reshape(len(values), -1)
        columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel(), of_type), flat.shape[1])
    return columns


def state_of(table: pa.Table, num_ranges: int) -> UnitState:
    """The state that a table holds. num_ranges: ranges that each unit has."""
    columns: dict[str, np.ndarray] = {}
    for name in FIELDS:
        column = table[name].combine_chunks()
        if name in _SCALARS:
            columns[name] = column.to_numpy(zero_copy_only=False)
            continue
        flat = column.flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
        is_of_range = name.startswith("range_")
        columns[name] = flat.reshape(table.num_rows, num_ranges, -1) if is_of_range else flat
    return UnitState(**columns)
