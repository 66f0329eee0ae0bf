"""A deterministic start for layouts: the first principal components.

A spectral start takes most of a UMAP's time and is erratic; this one keeps the neighbourhoods as well and the
global shape better.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 4096


def pca_start(
    activations: NDArray[np.floating],
    num_dimensions: int = 2,
    metric: Literal["cosine", "euclidean"] = "euclidean",
) -> NDArray[np.float32]:
    """Projection on the principal components of largest variance; the covariance is float64, streamed.

    With ``cosine`` the unit vectors are projected, so that an activation's strength does not count. Signs are
    fixed: a component's weight of largest magnitude is positive.

    Args:    activations: (activation, channel), finite.
    Returns: (activation, dimension); a dimension beyond the channels is 0.
    """
    num_rows, num_channels = activations.shape
    start = np.zeros((num_rows, num_dimensions), np.float32)
    kept = min(num_dimensions, num_channels)
    if num_rows == 0 or kept == 0:
        return start
    tiles = [slice(at, at + _ROWS_AT_ONCE) for at in range(0, num_rows, _ROWS_AT_ONCE)]
    mean = sum(_rows(activations[tile], metric).sum(axis=0) for tile in tiles) / num_rows
    covariance = np.zeros((num_channels, num_channels))
    for tile in tiles:
        centred = _rows(activations[tile], metric) - mean
        covariance += centred.T @ centred
    components = np.linalg.eigh(covariance)[1][:, ::-1][:, :kept]
    largest = np.abs(components).argmax(axis=0)
    components *= np.sign(components[largest, np.arange(kept)])
    for tile in tiles:
        start[tile, :kept] = (_rows(activations[tile], metric) - mean) @ components
    return start


def _rows(activations: NDArray[np.floating], metric: str) -> NDArray[np.float64]:
    rows = activations.astype(np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(norms > 0, norms, 1.0)
    return rows
