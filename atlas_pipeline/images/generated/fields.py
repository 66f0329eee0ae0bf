"""Drawing tools for textures and shapes: pixel coordinates, antialiased edges, lattices, smooth noise.

A *field* is float32 (64, 64) over the pixels of one image. Lengths are in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
SIDE_PX = 64

_CENTRED = np.arange(SIDE_PX, dtype=np.float32) - np.float32(SIDE_PX / 2 - 0.5)
#: Pixel centres, from the middle of the image; y grows downwards.
Y, X = np.meshgrid(_CENTRED, _CENTRED, indexing="ij")


def turned(rng: np.random.Generator, max_angle: float = np.pi) -> tuple[Field, Field]:
    """Coordinates rotated by a random angle (radians, up to `max_angle` either way) and randomly shifted."""
    angle = rng.uniform(-max_angle, max_angle)
    shift_u, shift_v = rng.uniform(0, SIDE_PX, 2)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return X * cosine + Y * sine + np.float32(shift_u), Y * cosine - X * sine + np.float32(shift_v)


def coverage(distance: Field) -> Field:
    """The fraction of a pixel inside, from the signed distance to the border (positive inside)."""
    return np.clip(distance + np.float32(0.5), 0, 1)


def fold(coordinate: Field, period: float) -> Field:
    """Distance to the nearest multiple of `period`: a triangle wave between 0 and period / 2."""
    return np.abs(coordinate - np.float32(period) * np.rint(coordinate / np.float32(period)))


def bands(coordinate: Field, period: float, share: float = 0.5) -> Field:
    """Parallel bands: 1 on the fraction `share` of each period."""
    return coverage(np.float32(share * period / 2) - fold(coordinate, period))


def lattice(u: Field, v: Field, period: float) -> tuple[Field, Field, NDArray[np.int64]]:
    """Position within a square lattice's cell, relative to its centre, and the cell's number below 256."""
    column, row = np.rint(u / np.float32(period)), np.rint(v / np.float32(period))
    cell = (column.astype(np.int64) & 15) * 16 + (row.astype(np.int64) & 15)
    return u - column * np.float32(period), v - row * np.float32(period), cell


def per_cell(rng: np.random.Generator, cell: NDArray[np.int64], low: float, high: float) -> Field:
    """One uniform random value per cell of a lattice, for all of its pixels."""
    return rng.uniform(low, high, 256).astype(np.float32)[cell]


def smooth_noise(rng: np.random.Generator, num_rows: int, num_columns: int) -> Field:
    """Gaussian noise from a grid of random knots, smoothly interpolated; mean about 0, deviation about 1."""
    knots = rng.standard_normal((num_rows + 3, num_columns + 3), dtype=np.float32)
    noise = _SPLINES[num_rows] @ knots @ _SPLINES[num_columns].T
    return noise.astype(np.float32, copy=False)


def _spline(num_knots: int) -> Field:
    # Cubic B-spline weights (64, knots + 3), scaled to keep the noise's standard deviation at 1.
    place = (np.arange(SIDE_PX) + 0.5) / SIDE_PX * num_knots
    distance = np.abs(place[:, None] - (np.arange(num_knots + 3) - 1)[None, :])
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, inner, outer)
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


_SPLINES = {num_knots: _spline(num_knots) for num_knots in (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)}
