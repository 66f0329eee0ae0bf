"""Whether a second network finds the cell of a picture: ranks among all cells by its features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

_CHUNK = 1024
# Equal cosines may differ by rounding, and ties count against the picture.
_TIE = 1e-9


def own_cell_ranks(
    features: Floats,
    cells: Floats,
    own: NDArray[np.integer] | None = None,
    own_features: Floats | None = None,
) -> NDArray[np.int32]:
    """Number of other cells that are at least as near to a picture as its own cell.

    Nearness is the cosine, after the mean of all cells is taken from both features: what all patches share
    tells no cell from another.

    Args:    features: (picture, feature). cells: (cell, feature), mean features of the cells' real patches.
             own: (picture,) index of each picture's cell; None: picture i belongs to cell i. own_features:
             (picture, feature), used for the own cell in place of its row of ``cells``.
    Returns: (picture,); 0 if its own cell is nearest. Ties count against the picture.
    Raises:  ValueError: values are not finite.

    >>> cells = np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, -2.0]])
    >>> own_cell_ranks(np.array([[3.0, 1.0], [3.0, 1.0]]), cells, own=np.array([0, 2])).tolist()
    [0, 2]
    """
    given = (features, cells) if own_features is None else (features, cells, own_features)
    if not all(np.isfinite(values).all() for values in given):
        raise ValueError("features must be finite")
    if not len(features):
        return np.empty(0, dtype=np.int32)
    centre = np.asarray(cells, dtype=np.float64).mean(axis=0)
    seen, known = _unit(features - centre), _unit(cells - centre)
    own = np.arange(len(seen)) if own is None else own
    at_home = known[own] if own_features is None else _unit(own_features - centre)
    own_cosines = (seen * at_home).sum(axis=1, keepdims=True)
    ranks = np.empty(len(seen), dtype=np.int32)
    for start in range(0, len(seen), _CHUNK):
        rows = slice(start, start + _CHUNK)
        is_nearer = seen[rows] @ known.T >= own_cosines[rows] - _TIE
        is_nearer[np.arange(len(is_nearer)), own[rows]] = False
        ranks[rows] = is_nearer.sum(axis=1)
    return ranks


def derangement(num: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random permutation that moves every item; with one item, that item."""
    order = rng.permutation(num)
    moved = np.empty(num, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return moved


def _unit(vectors: Floats) -> NDArray[np.float64]:
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
