"""Deterministic start for layouts: the first principal components.

A spectral start takes most of UMAP's time and varies between runs. The PCA start keeps neighbourhoods as well
and the global shape better.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.blocks import Blocks

_ROWS_AT_ONCE = 4096


def pca_start(
    activations: Blocks,
    num_dimensions: int = 2,
    metric: Literal["cosine", "euclidean"] = "euclidean",
) -> NDArray[np.float32]:
    """Project onto the principal components of largest variance: two passes, covariance in float64.

    With ``cosine`` the unit vectors are projected, so that magnitudes do not count. The signs are fixed: the
    weight of largest magnitude of each component is positive.

    Args:    activations: (activation, channel) blocks, finite.
    Returns: (activation, dimension) float32; dimensions beyond the number of channels are 0.
    """
    num_rows, total, squares = 0, np.zeros(0), np.zeros((0, 0))
    for rows in _rows(activations, metric):
        if not num_rows:
            total, squares = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        num_rows += len(rows)
        total += rows.sum(axis=0)
        squares += rows.T @ rows
    start = np.zeros((num_rows, num_dimensions), np.float32)
    kept = min(num_dimensions, len(total))
    if num_rows == 0 or kept == 0:
        return start
    mean = total / num_rows
    components = np.linalg.eigh(squares / num_rows - np.outer(mean, mean))[1][:, ::-1][:, :kept]
    largest = np.abs(components).argmax(axis=0)
    components *= np.sign(components[largest, np.arange(kept)])
    done = 0
    for rows in _rows(activations, metric):
        start[done : done + len(rows), :kept] = (rows - mean) @ components
        done += len(rows)
    return start


def _rows(activations: Blocks, metric: str) -> Iterator[NDArray[np.float64]]:
    for block in activations:
        for at in range(0, len(block), _ROWS_AT_ONCE):
            rows = block[at : at + _ROWS_AT_ONCE].astype(np.float64)
            if metric == "cosine":
                norms = np.linalg.norm(rows, axis=1, keepdims=True)
                rows /= np.where(norms > 0, norms, 1.0)
            yield rows
