"""Conversions between the sums over a grid's cells and a table.

Columns: ``cell`` int32 (number in reading order), ``count`` int32, ``activation`` and ``attribution``
fixed_size_list<float32> (sums), ``top_class`` and ``top_count`` list<int32> (each class that has the highest
attribution in at least one row, and the number of such rows).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy import sparse

from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.numerics.cells import CellSums, PartialSums
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.tables.extent import FEWER_NUMBERS

SUM_COLUMNS = (
    Column("cell", pa.int32()),
    Column("count", pa.int32()),
    Column("activation", Vector((pa.float32(),), "channel")),
    Column("attribution", Vector((pa.float32(),), "class"), optional=True),
    Column("top_class", pa.list_(pa.int32()), optional=True),
    Column("top_count", pa.list_(pa.int32()), optional=True),
)
# Sums are float64 in memory.
SUM_BYTES = 8
LOWER_GRID = f"lower the largest of grid.sizes, or {FEWER_NUMBERS}"


def sums_table(sums: PartialSums) -> pa.Table:
    """One row per cell that received at least one activation."""
    columns = {
        "cell": pa.array(sums.cell.astype(np.int32)),
        "count": pa.array(sums.count.astype(np.int32)),
        # float32 halves the disk space. Rounding the float64 sum once per part loses no more precision than
        # the final mean, which is float32 too.
        "activation": matrix_column(sums.activation.astype(np.float32)),
    }
    if sums.attribution is not None and sums.top_classes is not None:
        tops = sums.top_classes
        columns["attribution"] = matrix_column(sums.attribution.astype(np.float32))
        offsets = pa.array(tops.indptr.astype(np.int32))
        for name, values in (("top_class", tops.indices), ("top_count", tops.data)):
            columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values.astype(np.int32)))
    return pa.table(columns)


def added_sums(artefact: Artefact) -> CellSums:
    """The total over all parts of a `cell_sums` artefact, with one part in memory at a time."""
    sums = CellSums(artefact.config["size"])
    for part in artefact.parts():
        sums.merge(_partial(part))
    return sums


def _partial(part: pa.Table) -> PartialSums:
    attribution = column_matrix(part, "attribution") if "attribution" in part.schema.names else None
    return PartialSums(
        cell=part["cell"].to_numpy().astype(np.int64),
        count=part["count"].to_numpy().astype(np.int64),
        activation=column_matrix(part, "activation"),
        attribution=attribution,
        top_classes=None if attribution is None else _top_classes(part, attribution.shape[1]),
    )


def _top_classes(part: pa.Table, num_classes: int) -> sparse.csr_array:
    top_class, top_count = (part[name].combine_chunks() for name in ("top_class", "top_count"))
    indptr = np.concatenate([[0], np.cumsum(top_class.value_lengths().to_numpy())])
    counts = top_count.flatten().to_numpy().astype(np.int64)
    shape = (part.num_rows, num_classes)
    return sparse.csr_array((counts, top_class.flatten().to_numpy(), indptr), shape=shape)
