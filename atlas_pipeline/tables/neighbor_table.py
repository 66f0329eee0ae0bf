"""The table of neighbours: a row an activation, with its vertex and the vertex's neighbours."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.layout.distinct import Distinct
from atlas_pipeline.layout.neighbors import NearVertices
from atlas_pipeline.tables.columns import column_matrix, matrix_column

NEIGHBOR_COLUMNS = (
    Column("vertex", pa.int32()),
    Column("indices", Vector((pa.int32(),), "neighbour")),
    Column("distances", Vector((pa.float32(),), "neighbour")),
)


def neighbor_table(near: NearVertices) -> pa.Table:
    """The neighbours as a table; equal activations repeat those of their vertex."""
    vertex = near.same.vertex
    return pa.table(
        {
            "vertex": pa.array(vertex),
            "indices": matrix_column(near.indices[vertex]),
            "distances": matrix_column(near.distances[vertex]),
        }
    )


def near_vertices(artefact: Artefact) -> NearVertices:
    """The neighbours of a finished artefact, a row a vertex."""
    table = artefact.read()
    vertex = table["vertex"].to_numpy()
    rows = np.unique(vertex, return_index=True)[1]
    same = Distinct(vertex=vertex, rows=rows, num_fitted=artefact.notes["num_fitted"])
    return NearVertices(column_matrix(table, "indices")[rows], column_matrix(table, "distances")[rows], same)
