"""How much of the activations' neighbourhoods a layout keeps: numbers beside the picture."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

# A share measured on 2,000 rows of 15 neighbours each has a standard error below 0.01.
NUM_NEIGHBORS, NUM_SAMPLED, NUM_PAIRS = 15, 2_000, 100_000
_DISTANCES_AT_ONCE, _PAIRS_AT_ONCE = 1 << 22, 4096

Metric = Literal["cosine", "euclidean"]


def layout_quality(
    activations: NDArray[np.floating],
    layout: NDArray[np.floating],
    seed: int,
    metric: Metric = "cosine",
    num_neighbors: int = NUM_NEIGHBORS,
    num_sampled: int = NUM_SAMPLED,
) -> dict[str, float | int | None]:
    """Neighbourhood preservation of a layout, measured on random rows against all rows.

    - ``neighbor_recall``: share of a row's nearest activations that are among its nearest in the layout.
    - ``trustworthiness`` (Venna and Kaski 2001): 1 when no layout neighbour is a stranger; strangers cost
      the more the farther away they are among the activations. About 0.5 for a random layout.
    - ``rank_correlation``: Spearman's, between the distances of random pairs in both: the global shape.

    Args:    activations: (activation, channel). layout: (activation, 2). seed: of the sample.
             num_neighbors: fewer where there are few rows. num_sampled: rows measured.
    Returns: the three, and ``num_neighbors`` and ``num_sampled`` as used; None for what is not defined
             (fewer than 3 rows, or all distances equal).
    """
    num_rows = len(activations)
    rng = np.random.default_rng(seed)
    k = min(num_neighbors, (num_rows - 1) // 2)  # trustworthiness is defined below half the rows
    sample = np.sort(rng.choice(num_rows, size=min(num_sampled, num_rows), replace=False))
    measured: dict[str, float | int | None] = {"num_neighbors": max(k, 0), "num_sampled": len(sample)}
    if k < 1:
        return measured | {"neighbor_recall": None, "trustworthiness": None, "rank_correlation": None}
    vectors = _Vectors(activations, metric)
    shared, excess = 0, 0
    for rows in _tiles(sample, num_rows):
        new_shared, new_excess = _compared(vectors.to_all(rows), _in_layout(layout, rows), rows, k)
        shared, excess = shared + new_shared, excess + new_excess
    worst = k * (2 * num_rows - 3 * k - 1) / 2
    left, right = rng.integers(num_rows, size=(2, NUM_PAIRS))
    left, right = left[left != right], right[left != right]
    shown = np.linalg.norm(layout[left].astype(np.float64) - layout[right], axis=1)
    return measured | {
        "neighbor_recall": shared / (k * len(sample)),
        "trustworthiness": 1.0 - excess / (worst * len(sample)),
        "rank_correlation": _spearman(vectors.of_pairs(left, right), shown),
    }


class _Vectors:
    """Distances between activations, up to a monotone function: of some to all, or pair by pair."""

    def __init__(self, activations: NDArray[np.floating], metric: Metric):
        # No normalised copy: at a million activations it would cost gigabytes.
        self.vectors, self.metric = activations.astype(np.float32, copy=False), metric
        self.squares = np.einsum("ij,ij->i", self.vectors, self.vectors)
        self.norms: NDArray[np.float32] = np.sqrt(np.where(self.squares > 0, self.squares, 1))

    def to_all(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """(row, activation)."""
        dots = self.vectors[rows] @ self.vectors.T
        return -dots / self.norms if self.metric == "cosine" else self.squares - 2 * dots

    def of_pairs(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pair,), comparable across pairs."""
        distances = np.empty(len(left))
        for start in range(0, len(left), _PAIRS_AT_ONCE):
            at = slice(start, start + _PAIRS_AT_ONCE)
            a, b = self.vectors[left[at]].astype(np.float64), self.vectors[right[at]].astype(np.float64)
            if self.metric == "cosine":
                cosines = np.einsum("ij,ij->i", a, b) / self.norms[left[at]] / self.norms[right[at]]
                distances[at] = 1 - cosines
            else:
                distances[at] = np.linalg.norm(a - b, axis=1)
        return distances


def _in_layout(layout: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.floating]:
    """(row, activation) squared distances in the plane; by differences, since its clumps are tiny."""
    along_x, along_y = (layout[rows, axis, None] - layout[:, axis] for axis in range(2))
    return along_x**2 + along_y**2


def _tiles(sample: NDArray[np.int64], num_rows: int) -> list[NDArray[np.int64]]:
    at_once = max(1, _DISTANCES_AT_ONCE // num_rows)
    return [sample[start : start + at_once] for start in range(0, len(sample), at_once)]


def _compared(
    true: NDArray[np.floating], shown: NDArray[np.floating], rows: NDArray[np.int64], k: int
) -> tuple[int, int]:
    """Neighbours in common, and by how much the ranks of layout neighbours exceed ``k``, over all rows."""
    itself = np.arange(len(rows))
    true[itself, rows] = shown[itself, rows] = np.inf
    near_true = np.argpartition(true, k - 1, axis=1)[:, :k]
    near_shown = np.argpartition(shown, k - 1, axis=1)[:, :k]
    shared = int((near_true[:, :, None] == near_shown[:, None, :]).sum())
    excess = 0
    for distances, near in zip(true, near_shown, strict=True):
        for distance in distances[near]:
            excess += max(int(np.count_nonzero(distances < distance)) + 1 - k, 0)
    return shared, excess


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    left, right = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    scale = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / scale) if scale > 0 else None


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, equals sharing their mean rank."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[which]
