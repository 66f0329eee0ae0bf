"""Column types that artefacts share, and conversions between fixed-size lists and matrices.

Activations and attributions are stored as float16 where that preserves them, else as float32: `narrowing.py`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.measures import table as measures

POSITION_FIELDS = [("image_id", pa.int64()), ("row", pa.int16()), ("col", pa.int16())]
EXAMPLE_TYPE = pa.struct(POSITION_FIELDS)


def columns_of_measures(stage: str) -> tuple[Column, ...]:
    """The columns of the measures that a stage computes, as `measures.table` lists them."""
    types = {"rank": pa.int32(), "ratios": pa.list_(pa.float32())}
    return tuple(
        Column(measure.name, types.get(measure.kind, pa.float32()), optional=not measure.is_required)
        for measure in measures.MEASURES
        if measure.source == stage
    )


def matrix_column(values: np.ndarray) -> pa.FixedSizeListArray:
    """A (row, channel) array of any float dtype -> fixed_size_list, without a copy if it is contiguous."""
    values = np.ascontiguousarray(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def column_matrix(table: pa.Table, column: str) -> np.ndarray:
    """A fixed_size_list column -> (row, channel) array of the column's dtype."""
    chunks = table.column(column).chunks
    width = table.schema.field(column).type.list_size
    dtype = table.schema.field(column).type.value_type.to_pandas_dtype()
    if not chunks:
        return np.empty((0, width), dtype)
    matrices = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in chunks]
    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
