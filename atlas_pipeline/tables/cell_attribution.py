"""Mean attributions of a grid's cells to one class."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.tables.columns import column_matrix


def attribution_to(cells: Artefact, index: int) -> np.ndarray:
    """(cell,) float32: the cells' mean attribution to a class, logits.

    Args: cells: a bin artefact, whose notes say which class each column is.
    """
    column = list(cells.notes["classes"]).index(index)
    return column_matrix(cells.read(["attribution"]), "attribution")[:, column].astype(np.float32)
