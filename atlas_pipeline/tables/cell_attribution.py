"""The mean attribution of each cell of a grid to one class."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.tables.columns import column_matrix


def attribution_to(cells: Artefact, index: int) -> np.ndarray:
    """Mean attribution of each cell to a class.

    Args:    cells: a bin artefact; its notes list the class of each column. index: of the class's logit.
    Returns: (cell,) float32, logits.
    Raises:  ValueError: the artefact has no attributions to that class.
    """
    column = list(cells.notes["classes"]).index(index)
    return column_matrix(cells.read(["attribution"]), "attribution")[:, column].astype(np.float32)
