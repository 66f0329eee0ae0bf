"""The square of an image around a spatial position of a feature map."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def crop_window(position: ArrayLike, map_size: ArrayLike, side_px: int, image_px: int) -> tuple[int, int]:
    """Top and left of the square around a spatial position, shifted to lie inside the image.

    Args:    position: row, col. map_size: rows and columns of the feature map. side_px: side of the square,
             at most ``image_px``, the side of the image.
    """
    centre = (np.asarray(position) + 0.5) / np.asarray(map_size) * image_px
    start = np.clip(np.floor(centre - side_px / 2 + 0.5), 0, image_px - side_px).astype(int)
    return int(start[0]), int(start[1])
