"""Equal activations are one vertex of a layout, and no row number decides where a vertex stands.

Rows stand by image, and images by class folder: an order that must not show in a layout. Vertices are
therefore ordered by a keyed hash of their values. Ties between neighbours, the order of moves and the noise
of the start then depend on values and seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.blocks import Blocks, in_order
from atlas_pipeline.numerics.near_rows import Metric

_ROWS_AT_ONCE = 4096
# As a share of the layout's longer side: a tenth of a pixel in a picture of 10,000.
SPREAD = 1e-5
# Keeps this draw apart from other draws with the run's seed.
_SPREAD_STREAM = 0x5B6EAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """Which activations are equal.

    vertex: (activation,) int32, the vertex that each is; vertices are numbered by the hash of their values,
    those with a fitted activation first. rows: (vertex,) int64, the first row of each. num_fitted: vertices
    with a fitted activation. has_zeros: an activation of zeros is among them.
    """

    vertex: NDArray[np.int32]
    rows: NDArray[np.int64]
    num_fitted: int
    has_zeros: bool = False

    @property
    def largest_group(self) -> int:
        """The most activations that are equal; 0 without any."""
        return int(np.bincount(self.vertex).max(initial=0))

    def among(self, rows: NDArray[np.int64]) -> Distinct:
        """The same of the fitted rows alone, ascending: every fitted vertex is one of theirs."""
        vertex = self.vertex[rows]
        return Distinct(
            vertex=vertex,
            rows=np.unique(vertex, return_index=True)[1],
            num_fitted=self.num_fitted,
            has_zeros=self.has_zeros,
        )


def as_seen(activations: NDArray[np.floating], metric: Metric) -> NDArray[np.float32]:
    """(activation, channel) without what the metric does not see: equal to it is equal to the bit.

    The sign of a zero; with ``cosine`` the strength: each is divided by its largest magnitude, which
    gives positive multiples the same bits.
    """
    vectors = activations.astype(np.float32)
    if metric == "cosine":
        largest = np.abs(vectors).max(axis=1, initial=0, keepdims=True)
        vectors /= np.where(largest > 0, largest, np.float32(1))
    vectors += 0  # -0 becomes 0
    return vectors


def vectors_of(activations: Blocks, rows: NDArray[np.int64], metric: Metric) -> NDArray[np.float32]:
    """(row, channel): the rows in the order asked for, as the metric sees them; rows x channels x 4 bytes."""
    vectors = np.empty((len(rows), 0), np.float32)
    for places, block in in_order(activations, rows):
        if not vectors.size:
            vectors = np.empty((len(rows), block.shape[1]), np.float32)
        vectors[places] = as_seen(block, metric)
    return vectors


def distinct(
    activations: Blocks, metric: Metric, seed: int, fitted: NDArray[np.int64] | None = None
) -> Distinct:
    """Group equal activations: a pass over them, and 16 bytes each in memory.

    Args:    activations: (activation, channel) blocks, float16 or float32. fitted: rows; None: all.
    Raises:  ValueError: NaN or infinite activations.
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


def spread(places: NDArray[np.float32], same: Distinct, seed: int) -> NDArray[np.float32]:
    """Every activation at its vertex's place; equal ones a hair apart, so that no order shows in ties.

    Each of several equal activations is moved right and up by a random part of 1e-5 of the longer side, or
    left and down at the upper border: in the unit square they stay in it, and of a place on a cell's edge
    all stay in one cell.

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
            raise ValueError("activations hold NaN or infinite values; they have no neighbours")
        for start in range(0, len(block), _ROWS_AT_ONCE):
            yield as_seen(block[start : start + _ROWS_AT_ONCE], metric)
