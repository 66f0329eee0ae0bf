"""Irregular textures: noise, cells and scattered motifs. Each draws a field in [0, 1] from its generator."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.images.generated.fields import (
    SIDE_PX,
    Field,
    X,
    Y,
    coverage,
    fold,
    lattice,
    per_cell,
    smooth_noise,
    turned,
)


def leaves(rng: np.random.Generator) -> Field:
    u, v = turned(rng)
    period = rng.uniform(13, 16)
    value = np.full_like(u, 0)
    for shift in (0.0, period / 2):  # two overlapping lattices of leaves
        across, down, cell = lattice(u + np.float32(shift), v + np.float32(shift), period)
        angle = per_cell(rng, cell, 0, 2 * np.pi)
        cosine, sine = np.cos(angle), np.sin(angle)
        along, aside = across * cosine + down * sine, np.abs(down * cosine - across * sine)
        blade = np.float32(0.26 * period) * (1 - (along / np.float32(0.5 * period)) ** 2) - aside
        shade = np.where(aside < np.float32(0.8), np.float32(0.35), per_cell(rng, cell, 0.7, 1))
        value = np.where(blade > -0.5, coverage(blade) * shade, value)
    return value


def spots(rng: np.random.Generator) -> Field:
    # Spots as on an animal's coat: a lattice distorted beyond recognition, each spot with its own outline.
    period = rng.uniform(12, 15)
    u, v = turned(rng)
    across, down, cell = lattice(
        u + np.float32(3) * smooth_noise(rng, 6, 6), v + np.float32(3) * smooth_noise(rng, 6, 6), period
    )
    radius = per_cell(rng, cell, 0.26, 0.44) * np.float32(period)
    lobes = 1 + np.float32(0.2) * np.cos(3 * np.arctan2(down, across) + per_cell(rng, cell, 0, 2 * np.pi))
    return coverage(radius * lobes - np.hypot(across, down))


def maze(rng: np.random.Generator) -> Field:
    spectrum = np.fft.rfft2(rng.standard_normal((SIDE_PX, SIDE_PX), dtype=np.float32)) * _ANNULUS
    paths = np.fft.irfft2(spectrum).astype(np.float32)
    return coverage(paths * np.float32(2.2 / paths.std()))


def sand(rng: np.random.Generator) -> Field:
    grains = smooth_noise(rng, 32, 32) * np.float32(0.2) + smooth_noise(rng, 4, 4) * np.float32(0.08)
    return np.clip(grains + np.float32(0.5), 0, 1)


def sky(rng: np.random.Generator) -> Field:
    clouds = smooth_noise(rng, 4, 2) + smooth_noise(rng, 7, 4) / 2 + smooth_noise(rng, 12, 8) / 4
    return np.clip(clouds * np.float32(0.45) + np.float32(0.45) + Y * np.float32(0.004), 0, 1)


def wood(rng: np.random.Generator) -> Field:
    # Planks with dark seams, each with its own faint grain.
    u, v = turned(rng)
    plank = rng.uniform(14, 18)
    row = np.rint(v / np.float32(plank))
    number = row.astype(np.int64) & 15
    bend = np.sin(u * np.float32(0.16) + per_cell(rng, number, 0, 2 * np.pi))
    grain = v + np.float32(1.3) * bend + smooth_noise(rng, 4, 4)
    lines = np.float32(0.75) + np.float32(0.25) * np.sin(
        grain * np.float32(2 * np.pi / rng.uniform(4.5, 5.5))
    )
    seam = coverage(np.float32(plank / 2 - 1.1) - np.abs(v - row * np.float32(plank)))
    return lines * seam * per_cell(rng, number, 0.7, 1)


def bubbles(rng: np.random.Generator) -> Field:
    period = rng.uniform(14, 18)
    u, v, cell = lattice(*turned(rng), period)
    radius = per_cell(rng, cell, 0.24, 0.46) * np.float32(period)
    light = per_cell(rng, cell[:1, :1], 0, 2 * np.pi)
    glint = np.hypot(
        u - radius * np.cos(light) * np.float32(0.35), v - radius * np.sin(light) * np.float32(0.35)
    )
    ball = np.clip(np.float32(1.15) - glint / radius, np.float32(0.25), 1)
    return coverage(radius - np.hypot(u, v)) * ball


def rays(rng: np.random.Generator) -> Field:
    middle_x, middle_y = rng.uniform(-16, 16, 2)
    across, down = X - np.float32(middle_x), Y - np.float32(middle_y)
    sector = 2 * np.pi / int(rng.integers(10, 15))
    angle = np.arctan2(down, across) + np.float32(rng.uniform(0, sector) + 2 * np.pi)
    to_border = fold(angle, sector) - np.float32(sector / 4)
    return coverage(to_border * np.hypot(across, down))


def cracks(rng: np.random.Generator) -> Field:
    u, v = turned(rng)
    period = rng.uniform(13, 16)
    across, down, cell = lattice(u, v, period)
    jitter = rng.uniform(-0.4, 0.4, (2, 256)).astype(np.float32) * np.float32(period)
    nearest = np.full_like(u, np.inf)
    second = nearest.copy()
    owner = cell
    for step_u in (-1, 0, 1):
        for step_v in (-1, 0, 1):
            neighbour = ((cell // 16 + step_u) & 15) * 16 + ((cell + step_v) & 15)
            distance = np.hypot(
                across - np.float32(step_u * period) - jitter[0][neighbour],
                down - np.float32(step_v * period) - jitter[1][neighbour],
            )
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            owner = np.where(closer, neighbour, owner)
            nearest = np.where(closer, distance, nearest)
    to_border = (second - nearest) * np.float32(0.5) - np.float32(0.9)
    return coverage(to_border) * per_cell(rng, owner, 0.65, 1)


def _annulus() -> Field:
    # One wavelength in all directions, with a small bandwidth: a maze of corridors of even width.
    frequency = np.hypot(np.fft.fftfreq(SIDE_PX)[:, None], np.fft.rfftfreq(SIDE_PX)[None, :])
    return np.exp(-(((frequency - 1 / 11) / 0.012) ** 2)).astype(np.float32)


_ANNULUS = _annulus()
