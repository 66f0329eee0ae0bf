"""Patches for pasting onto images: whose, cut out where, pasted where, and noise that is like them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

KINDS = ("icon", "crop", "noise", "random")
"""A cell's icon; the crop of the dataset nearest to it; noise like the icon; the icon of any cell."""

CORNERS = ("top left", "top right", "bottom left", "bottom right")

# Clipping takes spread away and restoring it brings some clipping back: the two soon agree.
_ROUNDS = 20


def strongest(pull: ArrayLike, num_patches: int) -> NDArray[np.int64]:
    """The cells that pull hardest, hardest first; those that do not pull at all are left out.

    Args:    pull: (cell,) mean attribution to the right class minus that to the left, logits.
    Returns: (cell,) indices, at most ``num_patches``; of equal pulls the earlier cell comes first.
    """
    values = np.asarray(pull, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    return order[values[order] > 0][:num_patches]


def random_cells(num_cells: int, num_patches: int, seed: int) -> NDArray[np.int64]:
    """Cells drawn without replacement, in the order drawn; all of them where there are no more.

    Returns: (cell,) indices; a larger draw of the same seed begins with the smaller one.
    """
    return np.random.default_rng(seed).permutation(num_cells)[:num_patches]


def crop_window(position: ArrayLike, map_size: ArrayLike, side_px: int, image_px: int) -> tuple[int, int]:
    """Top and left of the square around a spatial position, moved inside the image where it juts out.

    Args:    position: row, col. map_size: rows and columns of the feature map. side_px: of the square, at
             most ``image_px``, the side of the image.
    """
    centre = (np.asarray(position) + 0.5) / np.asarray(map_size) * image_px
    start = np.clip(np.floor(centre - side_px / 2 + 0.5), 0, image_px - side_px).astype(int)
    return int(start[0]), int(start[1])


def patch_px(image_px: int, share: float) -> int:
    """Side of a patch that takes a share of the image's side: whole pixels, at least 1."""
    return max(1, round(image_px * share))


def corner_windows(image_px: int, side_px: int) -> list[tuple[int, int]]:
    """Top and left of a square patch in each of ``CORNERS``."""
    far = image_px - side_px
    return [(top, left) for top in (0, far) for left in (0, far)]


def noise_like(patch: NDArray[np.uint8], seed: Sequence[int]) -> NDArray[np.uint8]:
    """Noise with a patch's power spectrum and colours, and none of its shapes.

    Every frequency's phase is moved at random, by the same in all channels: the power of each channel and
    how channels go together stay as they are. What leaves the range of a pixel is clipped, and the mean and
    the spread of every channel restored.

    Args:    patch: (side, side, 3). seed: non-negative integers.
    Returns: (side, side, 3) uint8.
    Source:  random phase noise, Galerne, Gousseau and Morel 2011, "Random Phase Textures".
    """
    light = patch.astype(np.float64)
    white = np.random.default_rng(list(seed)).standard_normal(patch.shape[:2])
    # The phases of a real picture, so that what they are added to stays one.
    phase = np.angle(np.fft.fft2(white))
    spectrum = np.fft.fft2(light, axes=(0, 1)) * np.exp(1j * phase)[..., None]
    noise = np.fft.ifft2(spectrum, axes=(0, 1)).real
    mean, spread = light.mean(axis=(0, 1)), light.std(axis=(0, 1))
    for _ in range(_ROUNDS):
        centred = noise - noise.mean(axis=(0, 1))
        noise = np.clip(mean + centred * spread / np.maximum(centred.std(axis=(0, 1)), 1e-9), 0, 255)
    return np.rint(noise).astype(np.uint8)
