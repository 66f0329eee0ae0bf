"""Patches that are pasted onto images: which cells, where to crop, where to paste, and matching noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = ("icon", "crop", "noise", "random")
"""A cell's icon; the nearest crop of the dataset; noise like the icon; the icon of a random cell."""

CORNERS = ("top left", "top right", "bottom left", "bottom right")

# Clipping reduces the spread, and restoring the spread causes some clipping; the two converge quickly.
_ROUNDS = 20


def strongest(pull: ArrayLike, num_patches: int) -> NDArray[np.int64]:
    """The cells with the strongest pull, strongest first; cells without a positive pull are left out.

    Args:    pull: (cell,) mean attribution to the right class minus that to the left, logits.
    Returns: (cell,) indices, at most ``num_patches``; ties go to the earlier cell.
    """
    values = np.asarray(pull, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    return order[values[order] > 0][:num_patches]


def random_cells(num_cells: int, num_patches: int, seed: int) -> NDArray[np.int64]:
    """Cells sampled without replacement, in random order; all cells if there are not more.

    Returns: (cell,) indices; a larger sample with the same seed begins with the smaller one.
    """
    return np.random.default_rng(seed).permutation(num_cells)[:num_patches]


def patch_px(image_px: int, share: float) -> int:
    """Side of a patch that spans a share of the image's side: whole pixels, at least 1."""
    return max(1, round(image_px * share))


def corner_windows(image_px: int, side_px: int) -> list[tuple[int, int]]:
    """Top and left of a square patch in each of ``CORNERS``."""
    far = image_px - side_px
    return [(top, left) for top in (0, far) for left in (0, far)]


def noise_like(patch: NDArray[np.uint8], seed: Sequence[int]) -> NDArray[np.uint8]:
    """Noise with the power spectrum and colours of a patch, but none of its shapes.

    The phase of every frequency is shifted at random, equally in all channels. This keeps the power of each
    channel and the correlation between channels. Pixels are then clipped to their range, and the mean and
    standard deviation of every channel are restored.

    Args:    patch: (side, side, 3). seed: non-negative integers.
    Returns: (side, side, 3) uint8.
    Source:  random phase noise, Galerne, Gousseau and Morel 2011, "Random Phase Textures".
    """
    pixels = patch.astype(np.float64)
    white = np.random.default_rng(list(seed)).standard_normal(patch.shape[:2])
    # Phases of a real image, so that the shifted spectrum still belongs to a real image.
    phase = np.angle(np.fft.fft2(white))
    spectrum = np.fft.fft2(pixels, axes=(0, 1)) * np.exp(1j * phase)[..., None]
    noise = np.fft.ifft2(spectrum, axes=(0, 1)).real
    mean, spread = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
    for _ in range(_ROUNDS):
        centred = noise - noise.mean(axis=(0, 1))
        noise = np.clip(mean + centred * spread / np.maximum(centred.std(axis=(0, 1)), 1e-9), 0, 255)
    return np.rint(noise).astype(np.uint8)
