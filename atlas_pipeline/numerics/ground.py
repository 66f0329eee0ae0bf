"""How much of an icon's contrast lies where its position looks, and how quiet the ground around is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.floating]

# The field's pixels together have this share of the squared gradient. Of 0.25, 0.5, 0.7 and 0.9, half tells
# icons of one thing from crowded ones most clearly: docs/yardsticks.md.
FIELD_SHARE = 0.5
# Standard deviation of the local mean, as a share of the image's side: 8 px of 80.
LOCAL_SHARE = 0.1


def mean_energy(energies: Floats) -> NDArray[np.float64]:
    """The mean of several images' energies, each as shares of its own sum: a flat image has large gradients.

    Args:    energies: (image, height, width), 0 or more. An image whose energy is 0 counts for nothing.
    Returns: (height, width), of sum 1; the same everywhere if every image's energy is 0.
    """
    energies = np.asarray(energies, dtype=np.float64)
    sums = energies.sum(axis=(1, 2), keepdims=True)
    mean = np.divide(energies, sums, out=np.zeros_like(energies), where=sums > 0).mean(axis=0)
    return mean / mean.sum() if mean.any() else np.full(mean.shape, 1 / mean.size)


def field_mask(energy: Floats, share: float = FIELD_SHARE) -> NDArray[np.bool_]:
    """The fewest pixels that together hold ``share`` of the energy; ties go to the first in reading order.

    Args:    energy: (height, width), 0 or more, not all 0.
    Returns: (height, width).

    >>> field_mask(np.array([[1.0, 6.0], [2.0, 1.0]]), share=0.7)
    array([[False,  True],
           [ True, False]])
    """
    order = np.argsort(-energy, axis=None, kind="stable")
    held = np.cumsum(energy.reshape(-1)[order])
    mask = np.zeros(energy.size, dtype=bool)
    mask[order[: np.searchsorted(held, share * held[-1]) + 1]] = True
    return mask.reshape(energy.shape)


def contrast(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Squared deviation of each pixel from its local mean, summed over red, green and blue.

    The local mean is Gaussian, with `LOCAL_SHARE` of the side as its standard deviation; the image is
    continued by reflection. The sum over the three channels is three times the contrast of grey, plus that
    of colour, so a change of brightness and a change of hue both count.

    Args:    images: (image, side, side, 3).
    Returns: (image, side, side), with pixels from 0 to 1.
    """
    pixels = images.astype(np.float32) / 255
    sigma = LOCAL_SHARE * images.shape[1]
    local = gaussian_filter(pixels, sigma=(0, sigma, sigma, 0), mode="reflect")
    return np.square(pixels - local).sum(axis=-1)


def share_in_field(images: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The share of each image's contrast that lies inside the field.

    Args:    images: (image, side, side, 3). mask: (side, side).
    Returns: (image,) in [0, 1]; NaN for an image without any contrast.

    >>> images = np.zeros((1, 10, 10, 3), dtype=np.uint8)
    >>> images[0, 5, 5] = 255
    >>> share_in_field(images, np.ones((10, 10), dtype=bool))
    array([1.], dtype=float32)
    """
    parts = contrast(images).astype(np.float64)
    whole, inside = parts.sum(axis=(1, 2)), (parts * mask).sum(axis=(1, 2))
    unknown = np.full(len(images), np.nan)
    return np.divide(inside, whole, out=unknown, where=whole > 0).astype(np.float32)
