"""Does an icon show what it stands for: cosines and round trips.

h = the activation that the finished icon gives, v = the mean activation of its cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

# Rows of the cosine table made at once: 12,000 icons against each other would be 576 MB in one piece.
_CHUNK = 1024


def fidelity(activations: Floats, means: Floats) -> NDArray[np.float32]:
    """Cosine between each icon's activation and the mean it was made for.

    Args:    activations: (icon, channel). means: (icon, channel), the same order.
    Returns: (icon,) in [-1, 1]; 0 where either vector is zero: an icon that gives nothing shows nothing.
    Raises:  ValueError: shapes that differ, or values that are not finite.
    """
    h, v = _checked(activations, means)
    if h.shape != v.shape:
        raise ValueError(f"activations are {h.shape} but means {v.shape}; they must go in pairs")
    return np.einsum("ik,ik->i", _unit(h), _unit(v)).astype(np.float32)


def of_others(activations: Floats, means: Floats) -> NDArray[np.float32]:
    """Median cosine of each mean with activations that were not made for it: what `fidelity` is by chance.

    Args:    activations: (other, channel), at least one. means: (cell, channel).
    Returns: (cell,) in [-1, 1].
    Raises:  ValueError: as `fidelity`.
    """
    h, v = _checked(activations, means)
    return np.median(_unit(h) @ _unit(v).T, axis=0).astype(np.float32)


def fidelity_whitened(activations: Floats, means: Floats, precision: Floats) -> NDArray[np.float32]:
    """The same cosine in the whitened metric, h P v / sqrt(h P h * v P v).

    Args:    activations, means: as `fidelity`. precision: (channel, channel), symmetric,
             positive semi-definite.
    Returns: (icon,) in [-1, 1].
    Raises:  ValueError: as `fidelity`, or a precision of another size.
    """
    h, v = _checked(activations, means)
    if precision.shape != (h.shape[1], h.shape[1]):
        raise ValueError(f"precision is {precision.shape}; {h.shape[1]} channels need a square of that side")
    values, vectors = np.linalg.eigh(np.asarray(precision, dtype=np.float64))
    root = vectors * np.sqrt(values.clip(min=0.0))
    return fidelity(h @ root, v @ root)


def round_trip(
    activations: Floats, means: Floats, own: NDArray[np.integer] | None = None
) -> NDArray[np.int32]:
    """How many other cells' means are as near to the icon's activation as its own cell's, by cosine.

    Args:    activations: (icon, channel). means: (cell, channel).
             own: (icon,) index of each icon's own cell; None: icon i stands for cell i.
    Returns: (icon,) int32, 0: its own cell is nearest. An icon without any activation comes last.
    Raises:  ValueError: shapes that do not fit, or values that are not finite.
    """
    h, v = _checked(activations, means)
    own = np.arange(len(h)) if own is None else np.asarray(own)
    if own.shape != (len(h),) or (len(own) and (own.min() < 0 or own.max() >= len(v))):
        raise ValueError(f"{len(h)} icons and {len(v)} cells: own must name a cell for each icon")
    h, v = _unit(h), _unit(v)
    ranks = np.empty(len(h), dtype=np.int32)
    for start in range(0, len(h), _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosines = h[rows] @ v.T
        mine = np.take_along_axis(cosines, own[rows, None], axis=1)
        # Ties count against the icon, its own cell's tie with itself taken off.
        ranks[rows] = (cosines >= mine).sum(axis=1) - 1
    return ranks


def nearest(vectors: Floats, means: Floats) -> NDArray[np.int64]:
    """The row of ``means`` (cell, channel) with the highest cosine to each vector; of equals the first.

    Args:    vectors: (vector, channel).
    Returns: (vector,) int64.
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
