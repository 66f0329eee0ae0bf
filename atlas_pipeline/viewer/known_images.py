"""The images that the viewer can name and find: a fixed subset, the same in all layers."""

from __future__ import annotations

import numpy as np

# Their places in every layer are loaded by a browser, and are numbered by a uint16.
MOST_IMAGES = 20_000


def known_images(num_images: int, seed: int) -> np.ndarray:
    """(image,) ascending image ids: all, or a uniform random ``MOST_IMAGES`` of them."""
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:MOST_IMAGES])
