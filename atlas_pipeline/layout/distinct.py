"""Equal activations share one vertex of a layout, and row numbers never affect where a vertex lies.

Rows are ordered by image, and images by class folder. This order must not show in a layout, so vertices are
ordered by a keyed hash of their values. Ties between neighbours, the order of moves and the noise of the
start then depend only on values and seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.blocks import Blocks, rows_in_order
from atlas_pipeline.numerics.near_rows import Metric

_ROWS_AT_ONCE = 4096
# Share of the layout's longer side: a tenth of a pixel in a picture of 10,000 px.
SPREAD = 1e-5
# Separates this draw from other draws with the run's seed.
_SPREAD_STREAM = 0x5B6EAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """Groups of equal activations.

    vertex: (activation,) int32, the vertex of each activation. Vertices are numbered by the hash of their
    values; those with a fitted activation come first. rows: (vertex,) int64, the first row of each vertex.
    num_fitted: number of vertices with a fitted activation. has_zeros: whether any activation is all zeros.
    """

    vertex: NDArray[np.int32]
    rows: NDArray[np.int64]
    num_fitted: int
    has_zeros: bool = False

    @property
    def largest_group(self) -> int:
        """Size of the largest group of equal activations; 0 if there are no activations."""
        return int(np.bincount(self.vertex).max(initial=0))

    def restricted_to(self, rows: NDArray[np.int64]) -> Distinct:
        """Restrict to the fitted rows, ascending; they must cover every fitted vertex."""
        vertex = self.vertex[rows]
        return Distinct(
            vertex=vertex,
            rows=np.unique(vertex, return_index=True)[1],
            num_fitted=self.num_fitted,
            has_zeros=self.has_zeros,
        )


def canonical_vectors(activations: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """Canonical float32 form of activations: rows that are equal to the metric become bitwise equal.

    Zeros lose their sign. With ``cosine`` each row is divided by its largest magnitude, which makes positive
    multiples equal. Shape in and out: (activation, channel).
    """
    vectors = activations.astype(np.float32)
    if metric == "cosine":
        largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
        vectors /= np.where(largest > 0, largest, np.float32(1))
    vectors += 0  # -0 becomes 0
    return vectors


def read_vectors(activations: Blocks, rows: NDArray[np.int64], metric: Metric) -> NDArray[np.float32]:
    """Read rows in the given order in the form of ``canonical_vectors``: (row, channel), all in memory."""
    vectors = np.empty((len(rows), 0), np.float32)
    for places, block in rows_in_order(activations, rows):
        if not vectors.size:
            vectors = np.empty((len(rows), block.shape[1]), np.float32)
        vectors[places] = canonical_vectors(block, metric)
    return vectors


def distinct(
    activations: Blocks, metric: Metric, seed: int, fitted: NDArray[np.int64] | None = None
) -> Distinct:
    """Group equal activations in one pass, with 16 bytes of memory per activation.

    Args:    activations: (activation, channel) blocks, float16 or float32. fitted: rows; None: all rows.
    Raises:  ValueError: activations are NaN or infinite.
    """
    digests, has_zeros = bytearray(), False
    for vectors in _vectors(activations, metric):
        has_zeros = has_zeros or not vectors.any(axis=1).all()
        digests += b"".join(
            blake2b(vector, digest_size=16, key=str(seed).encode()).digest() for vector in vectors
        )
    high, low = np.frombuffer(digests, "<u8").reshape(-1, 2).T
    order = np.lexsort((low, high))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    vertex = np.empty(len(order), np.int32)
    vertex[order] = np.cumsum(is_first) - 1
    rows = order[is_first]
    num_fitted = len(rows)
    if fitted is not None:
        is_fitted = np.zeros(len(rows), bool)
        is_fitted[vertex[fitted]] = True
        num_fitted = int(is_fitted.sum())
        fitted_first = np.argsort(~is_fitted, kind="stable")
        number = np.empty(len(rows), np.int32)
        number[fitted_first] = np.arange(len(rows))
        vertex, rows = number[vertex], rows[fitted_first]
    return Distinct(vertex=vertex, rows=rows, num_fitted=num_fitted, has_zeros=has_zeros)


def separate_equal(places: NDArray[np.float32], same: Distinct, seed: int) -> NDArray[np.float32]:
    """Place every activation at its vertex; separate equal ones slightly, so that row order breaks no ties.

    Each of several equal activations moves right and up by a random distance of up to 1e-5 of the longer
    side, or left and down at the upper border. In the unit square they stay inside it, and a group that lies
    on a cell's edge stays in one cell.

    Args:    places: (vertex, dimension).
    Returns: (activation, dimension) float32.
    """
    layout = places[same.vertex]
    if not len(places):
        return layout
    low, high = places.min(axis=0), places.max(axis=0)
    longer = float((high - low).max(initial=0))
    step = SPREAD * (longer if longer > 0 else 1.0)
    is_at_border = (high > low) & (places > high - step)
    equal = np.bincount(same.vertex, minlength=len(places))[same.vertex] > 1
    state = np.random.RandomState(np.random.PCG64(np.random.SeedSequence([seed, _SPREAD_STREAM])))
    away = step * state.random_sample(layout.shape)[equal]
    layout[equal] += np.where(is_at_border[same.vertex[equal]], -away, away).astype(np.float32)
    return layout


def _vectors(activations: Blocks, metric: Metric) -> Iterator[NDArray[np.float32]]:
    for block in activations:
        if not np.isfinite(block).all():
            raise ValueError("activations hold NaN or infinite values, which have no neighbours")
        for start in range(0, len(block), _ROWS_AT_ONCE):
            yield canonical_vectors(block[start : start + _ROWS_AT_ONCE], metric)
