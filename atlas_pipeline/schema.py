"""Arrow schemas of the artefacts, and the two ways between fixed-size lists and matrices.

Activations and attributions are float16 where every value fits and float32 where one does not (above 65,504).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

FLOAT16_MAX = float(np.finfo(np.float16).max)


def index_schema() -> pa.Schema:
    """One row an image, in the fixed order."""
    return pa.schema(
        [
            ("image_id", pa.int64()),
            ("key", pa.string()),
            ("label", pa.int32()),
            ("file", pa.string()),
            ("row", pa.int64()),
            ("digest", pa.string()),
        ]
    )


POSITION_FIELDS = [("image_id", pa.int64()), ("row", pa.int16()), ("col", pa.int16())]
EXAMPLE_TYPE = pa.struct(POSITION_FIELDS)


def matrix_column(values: np.ndarray) -> pa.FixedSizeListArray:
    """(row, channel) array of any float dtype -> fixed_size_list, zero-copy."""
    values = np.ascontiguousarray(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def column_matrix(table: pa.Table, column: str) -> np.ndarray:
    """A fixed_size_list column -> (row, channel) array of its own dtype."""
    chunks = table.column(column).chunks
    width = table.schema.field(column).type.list_size
    dtype = table.schema.field(column).type.value_type.to_pandas_dtype()
    if not chunks:
        return np.empty((0, width), dtype)
    matrices = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in chunks]
    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices)


def narrow(values: np.ndarray) -> np.ndarray:
    """float32 -> float16 where every value fits; unchanged where one would overflow."""
    return values if np.abs(values).max(initial=0.0) > FLOAT16_MAX else values.astype(np.float16)
