"""Column types that artefacts share, and conversions between fixed-size lists and matrices.

Activations and attributions are stored as float16 where that preserves them, else as float32: see `narrow`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.measures import table as measures

# Largest norm of the rounding error that float16 may introduce, as a share of the vector's norm. The cosine
# between the vector and its stored form is then above 0.99995.
MAX_LOST_SHARE = 0.01
_BLOCK_ROWS = 1024


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


def float16_losses(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Norm of the error of float16 storage, as a share of the norm, for each row and each column.

    Rounding loses up to 5e-4. Values below 6e-5 lose more, and values below 3e-8 become zero. Values above
    65,504 overflow, and the loss is infinite. A row or column of zeros loses nothing.

    Args:    values: (row, channel), finite.
    Returns: (row,) and (channel,) float64.
    """
    lost_rows, lost, norms = [np.empty(0)], np.zeros(values.shape[1]), np.zeros(values.shape[1])
    # Work in blocks: float64 copies of a whole shard would be large.
    for start in range(0, len(values), _BLOCK_ROWS):
        exact = values[start : start + _BLOCK_ROWS]
        with np.errstate(over="ignore"):
            stored = exact.astype(np.float16)
        exact = exact.astype(np.float64)
        squared_error, squared = (exact - stored) ** 2, exact**2
        lost_rows.append(_share(squared_error.sum(1), squared.sum(1)))
        lost, norms = lost + squared_error.sum(0), norms + squared.sum(0)
    return np.concatenate(lost_rows), _share(lost, norms)


def _share(squared_error: np.ndarray, squared_norm: np.ndarray) -> np.ndarray:
    zeros = np.zeros_like(squared_norm)
    return np.sqrt(np.divide(squared_error, squared_norm, out=zeros, where=squared_norm > 0))


def narrow(values: np.ndarray, axes: Sequence[int] = (0, 1)) -> np.ndarray:
    """The values as float16 if that preserves every vector, else unchanged.

    Args:    values: (row, channel) float32. axes: which vectors must be preserved: 1: rows, 0: columns.
    Returns: (row, channel) float16; float32 if some vector would lose more than ``MAX_LOST_SHARE``.
    """
    losses = float16_losses(values)
    lossy = any(losses[1 - axis].max(initial=0.0) > MAX_LOST_SHARE for axis in axes)
    return values if lossy else values.astype(np.float16)
