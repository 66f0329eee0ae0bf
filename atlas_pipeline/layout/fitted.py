"""Selects the activations that a layout is fitted on."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.numerics.subset import random_subset

# Separates this draw from other draws with the run's seed.
FIT_STREAM = 0xF17


def fitted_rows(num_rows: int, fit_on: int | None, seed: int) -> np.ndarray | None:
    """Rows that a layout is fitted on, ascending int64; None: all rows."""
    if fit_on is None or fit_on >= num_rows:
        return None
    return random_subset(num_rows, fit_on, seed, FIT_STREAM)
