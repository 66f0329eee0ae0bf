"""Regular textures: bands, tilings, motifs on a lattice. Each draws a field in [0, 1] from its generator."""

from __future__ import annotations

import math

import numpy as np

from atlas_pipeline.images.generated.fields import (
    Field,
    bands,
    coverage,
    fold,
    lattice,
    per_cell,
    turned,
)

_SLIGHTLY = math.radians(20)


def stripes(rng: np.random.Generator) -> Field:
    _, v = turned(rng)
    return bands(v, rng.uniform(8, 12), rng.uniform(0.4, 0.6))


def waves(rng: np.random.Generator) -> Field:
    u, v = turned(rng)
    bend = np.float32(rng.uniform(3.5, 5)) * np.sin(u * np.float32(2 * np.pi / rng.uniform(18, 24)))
    return bands(v + bend, rng.uniform(8.5, 11))


def zigzag(rng: np.random.Generator) -> Field:
    u, v = turned(rng)
    return bands(v + np.float32(1.2) * fold(u, rng.uniform(13, 17)), rng.uniform(9, 12))


def dots(rng: np.random.Generator) -> Field:
    period = rng.uniform(10, 14)
    u, v, _ = lattice(*turned(rng, _SLIGHTLY), period)
    return coverage(np.float32(rng.uniform(0.29, 0.34) * period) - np.hypot(u, v))


def rings(rng: np.random.Generator) -> Field:
    period = rng.uniform(14, 18)
    u, v, _ = lattice(*turned(rng, _SLIGHTLY), period)
    return coverage(np.float32(1.7) - np.abs(np.hypot(u, v) - np.float32(0.33 * period)))


def checks(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    period = rng.uniform(13, 18)
    quarter = np.float32(period / 4)
    across, down = fold(u, period) - quarter, fold(v, period) - quarter
    return coverage(np.minimum(np.abs(across), np.abs(down)) * np.sign(across * down))


def bricks(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    height = rng.uniform(7, 9)
    row = np.rint(v / np.float32(height))
    u, _, cell = lattice(u + row * np.float32(height), row * np.float32(2 * height), 2 * height)
    across = np.float32(height - 1) - np.abs(u)
    down = np.float32(height / 2 - 1) - np.abs(v - row * np.float32(height))
    return coverage(np.minimum(across, down)) * per_cell(rng, cell, 0.6, 1.0)


def grid(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    period = rng.uniform(11, 15)
    return coverage(np.float32(1.4) - np.minimum(fold(u, period), fold(v, period)))


def plaid(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    period = rng.uniform(17, 22)

    def one_way(coordinate: Field) -> Field:
        return bands(coordinate, period, 0.45) * np.float32(0.8) + bands(coordinate + period / 2, period, 0.1)

    return np.clip((one_way(u) + one_way(v)) / 2, 0, 1)


def hexagons(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    width = rng.uniform(13, 16)
    height = width * math.sqrt(3)
    # A hexagonal lattice is two rectangular ones; each pixel belongs to the nearer centre.
    first = (_from_nearest(u, width), _from_nearest(v, height))
    second = (_from_nearest(u + width / 2, width), _from_nearest(v + height / 2, height))
    nearer = np.hypot(*first) < np.hypot(*second)
    across, down = (np.abs(np.where(nearer, a, b)) for a, b in zip(first, second, strict=True))
    to_border = np.float32(width / 2) - np.maximum(across, across / 2 + down * np.float32(np.sqrt(3) / 2))
    return coverage(np.float32(1.2) - to_border)


def triangles(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    height = rng.uniform(10, 13)
    root = np.float32(np.sqrt(3) / 2)
    signs = np.ones_like(u)
    to_border = np.full_like(u, height)
    half_v = v * np.float32(0.5)
    for along in (v, u * root + half_v, u * root - half_v):
        # The sign flips at every multiple of the height; the product over three directions gives the tiling.
        signs *= np.where(np.floor(along / np.float32(height)) % 2 == 0, 1, -1).astype(np.float32)
        to_border = np.minimum(to_border, fold(along, height))
    return coverage(to_border * signs)


def weave(rng: np.random.Generator) -> Field:
    # A basket weave: two parallel strands in each square, perpendicular to those in the next square.
    period = rng.uniform(12, 15)
    u, v, cell = lattice(*turned(rng, _SLIGHTLY), period)
    across = np.where((cell // 16 + cell) % 2 == 0, v, u)
    along = np.where((cell // 16 + cell) % 2 == 0, u, v)
    half_strand = np.float32(period / 4 - 0.8)
    strands = coverage(half_strand - np.abs(np.abs(across) - np.float32(period / 4)))
    return strands * coverage(np.float32(period / 2 - 0.7) - np.abs(along))


def scales(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY)
    width = rng.uniform(13, 16)
    rise, radius = np.float32(width * 0.42), np.float32(width * 0.57)
    row = np.floor(v / rise)
    value = np.zeros_like(u)
    for above in (0, 1):  # each row overlaps the row below it
        centre = row - np.float32(above)
        from_middle = _from_nearest(u + centre * np.float32(width / 2), width)
        distance = np.hypot(from_middle, v - centre * rise)
        value = np.where(distance < radius, coverage(radius - np.float32(1.7) - distance), value)
    return value


def pluses(rng: np.random.Generator) -> Field:
    period = rng.uniform(12, 15)
    u, v, _ = lattice(*turned(rng, _SLIGHTLY), period)
    u, v = np.abs(u), np.abs(v)
    arm = np.float32(0.36 * period)
    return coverage(np.minimum(np.float32(1.9) - np.minimum(u, v), arm - np.maximum(u, v)))


def flowers(rng: np.random.Generator) -> Field:
    period = rng.uniform(17, 21)
    u, v, cell = lattice(*turned(rng, _SLIGHTLY), period)
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    petals = 1 + np.float32(0.38) * np.cos(5 * angle + per_cell(rng, cell, 0, 2 * np.pi))
    flower = coverage(np.float32(0.33 * period) * petals - radius)
    return flower * (1 - coverage(np.float32(0.12 * period) - radius))


def windows(rng: np.random.Generator) -> Field:
    u, v = turned(rng, _SLIGHTLY / 3)
    width, height = rng.uniform(14, 17), rng.uniform(16, 20)
    u, v = np.abs(_from_nearest(u, width)), np.abs(_from_nearest(v, height))
    outside = np.minimum(np.float32(0.36 * width) - u, np.float32(0.38 * height) - v)
    bars = np.minimum(np.minimum(u, np.abs(v)), outside)
    frame = coverage(np.float32(1.0) - bars)
    return np.where(outside > 0, frame, coverage(outside + 1) * np.float32(0.4) + np.float32(0.6 * 0.75))


def _from_nearest(coordinate: Field, period: float) -> Field:
    """Signed distance from the nearest multiple of `period`."""
    return coordinate - np.float32(period) * np.rint(coordinate / np.float32(period))
