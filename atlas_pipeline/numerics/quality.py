"""Quality of a layout: how well it preserves neighbourhoods, and how much of it another seed would repeat."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.blocks import Blocks, gather_rows
from atlas_pipeline.numerics.near_rows import Metric, compare, nearest_in_layout
from atlas_pipeline.numerics.ranks import spearman

# The standard error is below 0.01, both of a share over 2,000 rows with 15 neighbours each and of a rank
# correlation over pairs of 8,192 rows.
NUM_NEIGHBORS, NUM_SAMPLED, NUM_PAIRED, NUM_PAIRS = 15, 2_000, 8_192, 100_000
_PAIRS_AT_ONCE = 4096

Figures = dict[str, float | int | None]
Compare = Callable[
    [Blocks, NDArray[np.int64], NDArray[np.floating], NDArray[np.int64], Metric, int],
    tuple[NDArray[np.int64], int],
]


def layout_quality(
    activations: Blocks,
    layout: NDArray[np.floating],
    seed: int,
    metric: Metric = "cosine",
    num_neighbors: int = NUM_NEIGHBORS,
    num_sampled: int = NUM_SAMPLED,
    compare: Compare = compare,
) -> Figures:
    """Neighbourhood preservation of a layout, measured for random rows against all rows.

    - ``neighbor_recall``: share of a row's nearest activations that are also among its nearest in the layout.
    - ``trustworthiness`` (Venna and Kaski 2001): 1 if every layout neighbour is also a neighbour among the
      activations. Other layout neighbours lower it by their rank among the activations. About 0.5 for a
      random layout.
    - ``rank_correlation``: Spearman's, between the distances of random pairs in both; measures global shape.

    Args:    activations: (activation, channel) blocks, read three times. layout: (activation, 2).
             seed: of the sample. num_neighbors: reduced if there are few rows. num_sampled: rows measured.
             compare: compares activations; as ``near_rows.compare``, perhaps on another device.
    Returns: the three figures, and ``num_neighbors`` and ``num_sampled`` as used; None for undefined figures
             (fewer than 3 rows, or all distances equal).
    """
    k = _limit_neighbors(num_neighbors, len(layout))
    measured: Figures = {"num_neighbors": k, "num_sampled": min(num_sampled, len(layout))}
    if k < 1:
        return measured | {"neighbor_recall": None, "trustworthiness": None, "rank_correlation": None}
    sample, left, right = _sample_rows(len(layout), seed, num_sampled)
    rows = gather_rows(activations, np.concatenate([sample, np.unique([left, right])]))
    paired = rows[len(sample) :]
    shown = nearest_in_layout(layout, sample, k)
    near, excess = compare(activations, sample, rows[: len(sample)], shown, metric, k)
    worst = k * (2 * len(layout) - 3 * k - 1) / 2
    first, second = np.searchsorted(np.unique([left, right]), (left, right))
    return measured | {
        "neighbor_recall": _num_shared(near, shown) / (k * len(sample)),
        "trustworthiness": 1.0 - excess / (worst * len(sample)),
        "rank_correlation": spearman(
            _pair_distances(paired, first, second, metric), _layout_distances(layout, left, right)
        ),
    }


def seed_agreement(
    layout: NDArray[np.floating],
    other: NDArray[np.floating],
    seed: int,
    num_neighbors: int = NUM_NEIGHBORS,
    num_sampled: int = NUM_SAMPLED,
) -> Figures:
    """Agreement of two layouts of the same activations: how much of a layout does not depend on the seed.

    - ``seed_agreement``: share of a row's nearest in one layout that are among its nearest in the other.
    - ``seed_rank_correlation``: Spearman's, between the distances of random pairs in both. Distances do not
      change if a layout is rotated or mirrored, and ranks do not change if it is scaled, so the layouts need
      no alignment.

    Args:    layout, other: (activation, 2). seed: of the sample, which equals that of ``layout_quality``.
    Returns: both figures; None for undefined ones.
    """
    k = _limit_neighbors(num_neighbors, len(layout))
    if k < 1:
        return {"seed_agreement": None, "seed_rank_correlation": None}
    sample, left, right = _sample_rows(len(layout), seed, num_sampled)
    near = [nearest_in_layout(each, sample, k) for each in (layout, other)]
    return {
        "seed_agreement": _num_shared(*near) / (k * len(sample)),
        "seed_rank_correlation": spearman(
            _layout_distances(layout, left, right), _layout_distances(other, left, right)
        ),
    }


def _sample_rows(num_rows: int, seed: int, num_sampled: int) -> tuple[NDArray[np.int64], ...]:
    """Sampled rows, ascending, and the two ends of random pairs of different rows."""
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(num_rows, size=min(num_sampled, num_rows), replace=False))
    endpoints = rng.choice(num_rows, size=min(NUM_PAIRED, num_rows), replace=False)
    left, right = endpoints[rng.integers(len(endpoints), size=(2, NUM_PAIRS))]
    return sample, left[left != right], right[left != right]


def _limit_neighbors(num_neighbors: int, num_rows: int) -> int:
    """Limit the neighbours to the range where trustworthiness is defined: below half the rows."""
    return max(0, min(num_neighbors, (num_rows - 1) // 2))


def _pair_distances(
    rows: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64], metric: Metric
) -> NDArray[np.float64]:
    """(pair,) distances of activations, comparable across pairs."""
    distances = np.empty(len(left))
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        at = slice(start, start + _PAIRS_AT_ONCE)
        a, b = rows[left[at]].astype(np.float64), rows[right[at]].astype(np.float64)
        if metric == "cosine":
            lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            distances[at] = 1 - np.einsum("ij,ij->i", a, b) / np.where(lengths > 0, lengths, 1)
        else:
            distances[at] = np.linalg.norm(a - b, axis=1)
    return distances


def _layout_distances(
    layout: NDArray[np.floating], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    return np.linalg.norm(layout[left].astype(np.float64) - layout[right], axis=1)


def _num_shared(near: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Number of common neighbours, over all rows."""
    return int((near[:, :, None] == other[:, None, :]).sum())
