"""The square of an image around a spatial position of a feature map."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def crop_window(position: ArrayLike, map_size: ArrayLike, side_px: int, image_px: int) -> tuple[int, int]:
    """Top and left of the square around a spatial position, shifted to lie inside the image.

    Args:    position: row, col. map_size: rows and columns of the feature map. side_px: side of the square,
             at most ``image_px``, the side of the image.
    """
    centre = (np.asarray(position) + 0.5) / np.asarray(map_size) * image_px
    start = np.clip(np.floor(centre - side_px / 2 + 0.5), 0, image_px - side_px).astype(int)
    return int(start[0]), int(start[1])


def window_like_icon(
    position: ArrayLike,
    map_size: ArrayLike,
    image_px: int,
    icon_map: ArrayLike,
    icon_px: int,
    shift_px: int = 0,
) -> tuple[int, int]:
    """Top and left of the square of an icon's size whose centre position lies on a spatial position.

    The square may leave the image: see `continued`.

    Args: position: row, col. map_size: rows and columns of the image's feature map. image_px: side of the
          image. icon_map: rows and columns of the feature map of an image of the icon's size, ``icon_px``.
          Its centre position is (rows // 2, columns // 2), see `inversion.objective.centre_position`.
          shift_px: pixels by which the network moves an icon, see `inversion.placement`.

    >>> window_like_icon((7, 7), (14, 14), 224, (5, 5), 80)
    (80, 80)
    >>> window_like_icon((7, 7), (14, 14), 224, (4, 4), 64, shift_px=8)  # the field is 112 to 128
    (88, 88)
    """
    icon_map = np.asarray(icon_map)
    in_image = (np.asarray(position) + 0.5) / np.asarray(map_size) * image_px
    in_icon = (icon_map // 2 + 0.5) / icon_map * icon_px
    start = np.floor(in_image - in_icon + shift_px + 0.5).astype(int)
    return int(start[0]), int(start[1])


def continued(start: int, side: int, num: int) -> NDArray[np.int64]:
    """Pixels [start, start + side) along an axis of ``num`` pixels, continued at both ends by reflection.

    >>> continued(-2, 5, 3).tolist()
    [1, 0, 0, 1, 2]
    """
    steps = np.arange(start, start + side) % (2 * num)
    return np.where(steps < num, steps, 2 * num - 1 - steps)
