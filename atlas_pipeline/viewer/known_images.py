"""The images that the viewer can name and find: a fixed subset, equal in all layers."""

from __future__ import annotations

import numpy as np

# A browser loads their places in every layer, and they are numbered by a uint16.
MAX_KNOWN_IMAGES = 20_000


def known_images(num_images: int, seed: int) -> np.ndarray:
    """(image,) ascending image ids: all images, or a uniform random ``MAX_KNOWN_IMAGES`` of them."""
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:MAX_KNOWN_IMAGES])
