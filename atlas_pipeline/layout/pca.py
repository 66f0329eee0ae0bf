"""Deterministic start for layouts: the first principal components.

A spectral start takes most of UMAP's time and varies between runs. The PCA start keeps neighbourhoods as well
and the global shape better.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.blocks import Blocks

_ROWS_AT_ONCE, _ROWS_AT_ONCE_ON_GPU = 4096, 65_536


def pca_start(
    activations: Blocks,
    num_dimensions: int = 2,
    metric: Literal["cosine", "euclidean"] = "euclidean",
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Project onto the principal components of largest variance: two passes, covariance in float64.

    With ``cosine`` the unit vectors are projected, so that magnitudes do not count. The signs are fixed: the
    weight of largest magnitude of each component is positive.

    Args:    activations: (activation, channel) blocks, finite. device: multiplies the matrices; ``cpu`` by
             NumPy, a GPU by torch.
    Returns: (activation, dimension) float32; dimensions beyond the number of channels are 0.
    """
    num_rows, total, squares = 0, np.zeros(0), np.zeros((0, 0))
    for rows in _rows(activations, metric, device):
        first = not num_rows
        num_rows += len(rows)
        total = rows.sum(0) if first else total + rows.sum(0)
        squares = rows.T @ rows if first else squares + rows.T @ rows
    start = np.zeros((num_rows, num_dimensions), np.float32)
    kept = min(num_dimensions, len(total))
    if num_rows == 0 or kept == 0:
        return start
    mean = _on_host(total) / num_rows
    components = np.linalg.eigh(_on_host(squares) / num_rows - np.outer(mean, mean))[1][:, ::-1][:, :kept]
    largest = np.abs(components).argmax(axis=0)
    components *= np.sign(components[largest, np.arange(kept)])
    done = 0
    mean, components = (_on_device(part, device) for part in (mean, components))
    for rows in _rows(activations, metric, device):
        start[done : done + len(rows), :kept] = _on_host((rows - mean) @ components)
        done += len(rows)
    return start


def _rows(activations: Blocks, metric: str, device: str) -> Iterator[Any]:
    """Float64 arrays of NumPy, or tensors on a GPU, which take the same operations."""
    at_once = _ROWS_AT_ONCE if device == "cpu" else _ROWS_AT_ONCE_ON_GPU
    for block in activations:
        for at in range(0, len(block), at_once):
            rows = _on_device(block[at : at + at_once], device)
            if metric == "cosine":
                norms = (rows * rows).sum(1)[:, None] ** 0.5
                rows = rows / (norms + (norms == 0))
            yield rows


def _on_device(array: NDArray[np.floating], device: str) -> Any:
    if device == "cpu":
        return array.astype(np.float64)
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(device).double()


def _on_host(array: Any) -> NDArray[np.float64]:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()
