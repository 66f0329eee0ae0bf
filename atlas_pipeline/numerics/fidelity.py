"""How well icons represent their cells: cosines and round trips.

h = activation of the finished icon, v = mean activation of its cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# Rows of the cosine table computed at a time: the full table of 12,000 icons would take 576 MB.
_CHUNK = 1024


def fidelity(activations: Floats, means: Floats) -> NDArray[np.float32]:
    """Cosine between each icon's activation and the mean it was made for.

    Args:    activations: (icon, channel). means: (icon, channel), in the same order.
    Returns: (icon,) float32 in [-1, 1]; 0 if either vector is zero.
    Raises:  ValueError: shapes differ, or values are not finite.

    >>> fidelity(np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [1.0, 0.0]]))
    array([1. , 0.6], dtype=float32)
    """
    h, v = _checked(activations, means)
    if h.shape != v.shape:
        raise ValueError(f"activations are {h.shape} but means {v.shape}; they must have the same shape")
    return np.einsum("ik,ik->i", _unit(h), _unit(v)).astype(np.float32)


def fidelity_centred(activations: Floats, means: Floats, layer_mean: Floats) -> NDArray[np.float32]:
    """Cosine as in `fidelity`, after the layer's mean activation is taken from both vectors.

    All activations of a layer share much of their direction. The cosine of the rest says how much of what is
    particular to the cell its icon has.

    Args:    activations, means: as in `fidelity`. layer_mean: (channel,).
    Returns: (icon,) float32 in [-1, 1].
    Raises:  ValueError: as `fidelity`.

    >>> fidelity_centred(np.array([[9.0, 1.0]]), np.array([[9.0, 2.0]]), np.array([9.0, 0.0]))
    array([1.], dtype=float32)
    """
    return fidelity(np.asarray(activations) - layer_mean, np.asarray(means) - layer_mean)


def chance_fidelity(activations: Floats, means: Floats) -> NDArray[np.float32]:
    """Median cosine of each mean with activations of other images: the chance level of `fidelity`.

    Args:    activations: (other, channel), at least one. means: (cell, channel).
    Returns: (cell,) float32 in [-1, 1].
    Raises:  ValueError: as `fidelity`.

    >>> chance_fidelity(np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]]), np.array([[2.0, 0.0]]))
    array([0.6], dtype=float32)
    """
    h, v = _checked(activations, means)
    return np.median(_unit(h) @ _unit(v).T, axis=0).astype(np.float32)


def metric_root(precision: Floats) -> NDArray[np.float64]:
    """Matrix R with R RT = P, for `fidelity_whitened`; computed once for all icons of a layer.

    Args:    precision: (channel, channel), symmetric, positive semi-definite.
    Returns: (channel, channel) float64; negative eigenvalues, which rounding leaves, count as 0.
    """
    values, vectors = np.linalg.eigh(np.asarray(precision, dtype=np.float64))
    return vectors * np.sqrt(values.clip(min=0.0))


def fidelity_whitened(activations: Floats, means: Floats, root: Floats) -> NDArray[np.float32]:
    """Cosine as in `fidelity`, in the whitened metric: h P v / sqrt(h P h * v P v).

    Args:    activations, means: as in `fidelity`. root: (channel, channel), `metric_root` of the precision P.
    Returns: (icon,) float32 in [-1, 1].
    Raises:  ValueError: as `fidelity`, or the root has another size.

    >>> h, v = np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> fidelity_whitened(h, v, metric_root(np.diag([1.0, 0.0])))  # ignores the second channel
    array([1.], dtype=float32)
    """
    h, v = _checked(activations, means)
    if root.shape != (h.shape[1], h.shape[1]):
        raise ValueError(f"root is {root.shape}; {h.shape[1]} channels need a square of that side")
    return fidelity(h @ root, v @ root)


def round_trip(
    activations: Floats, means: Floats, own: NDArray[np.integer] | None = None
) -> NDArray[np.int32]:
    """Number of other cells whose means are at least as near to the icon's activation as its own, by cosine.

    Args:    activations: (icon, channel). means: (cell, channel).
             own: (icon,) index of each icon's own cell; None: icon i belongs to cell i.
    Returns: (icon,) int32; 0 if its own cell is nearest. An icon with zero activation ranks last.
    Raises:  ValueError: shapes do not fit, or values are not finite.

    >>> means = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> round_trip(np.array([[1.0, 0.1], [1.0, 0.1]]), means, own=np.array([0, 2])).tolist()
    [0, 1]
    """
    h, v = _checked(activations, means)
    own = np.arange(len(h)) if own is None else np.asarray(own)
    if own.shape != (len(h),) or (len(own) and (own.min() < 0 or own.max() >= len(v))):
        raise ValueError(f"{len(h)} icons and {len(v)} cells; own must name a cell for each icon")
    h, v = _unit(h), _unit(v)
    ranks = np.empty(len(h), dtype=np.int32)
    for start in range(0, len(h), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = h[rows] @ v.T
        own_cosine = np.take_along_axis(cosines, own[rows, None], axis=1)
        # Ties count against the icon; subtract its own cell's tie with itself.
        ranks[rows] = (cosines >= own_cosine).sum(axis=1) - 1
    return ranks


def nearest(vectors: Floats, means: Floats) -> NDArray[np.int64]:
    """Row of ``means`` (cell, channel) with the highest cosine to each vector; ties go to the first row.

    Args:    vectors: (vector, channel).
    Returns: (vector,) int64.

    >>> nearest(np.array([[0.2, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1]
    """
    h, v = _checked(vectors, means)
    h, v = _unit(h), _unit(v)
    starts = range(0, len(h), _CHUNK)
    parts = [(h[start : start + _CHUNK] @ v.T).argmax(axis=1) for start in starts]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _checked(activations: Floats, means: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    h, v = np.asarray(activations, dtype=np.float64), np.asarray(means, dtype=np.float64)
    if h.ndim != 2 or v.ndim != 2 or h.shape[1] != v.shape[1]:
        raise ValueError(f"activations are {h.shape} and means {v.shape}; both must be (row, channel)")
    if not (np.isfinite(h).all() and np.isfinite(v).all()):
        raise ValueError("activations and means must be finite")
    return h, v


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
