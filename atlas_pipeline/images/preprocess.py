"""From a decoded image to the square that a network wants: resize the shorter side, crop the centre."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Geometry(Protocol):
    """What of a model's preprocessing concerns the image's geometry."""

    @property
    def resize(self) -> int | None:
        """Shorter side in pixels; None: not resized."""

    @property
    def crop(self) -> int:
        """Side of the centre crop in pixels."""

    @property
    def interpolation(self) -> str:
        """bilinear or bicubic, both antialiased."""


def apply_preprocess(image: np.ndarray, preprocess: Geometry) -> np.ndarray:
    """Resize and crop as torchvision's classification presets do.

    An image smaller than the crop is continued by its border pixels (torchvision: by black).

    Args:    image: (height, width, 3) uint8.
    Returns: (3, crop, crop) uint8.
    """
    return fit(Image.fromarray(image), preprocess)


def fit(image: Image.Image, preprocess: Geometry) -> np.ndarray:
    """``apply_preprocess`` of an RGB Pillow image."""
    width, height = _resized(image.width, image.height, preprocess.resize)
    left, right = _window(width, preprocess.crop)
    top, bottom = _window(height, preprocess.crop)
    inside = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    pixels = np.asarray(_region(image, (width, height), inside, FILTERS[preprocess.interpolation]))
    if pixels.shape[:2] != (preprocess.crop, preprocess.crop):
        beyond = ((inside[1] - top, bottom - inside[3]), (inside[0] - left, right - inside[2]), (0, 0))
        pixels = np.pad(pixels, beyond, mode="edge")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _resized(width: int, height: int, shorter: int | None) -> tuple[int, int]:
    """Size after resizing; the longer side is cut to whole pixels, as torchvision does."""
    if shorter is None:
        return width, height
    if width <= height:
        return shorter, shorter * height // width
    return shorter * width // height, shorter


def _window(side: int, crop: int) -> tuple[int, int]:
    """Start and stop of the centre crop; beyond [0, side) where the side is smaller than the crop."""
    # torchvision rounds halves to even when it cuts, and down when it pads.
    start = round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
    return start, start + crop


def _region(
    image: Image.Image, size: tuple[int, int], inside: tuple[int, int, int, int], resample: Image.Resampling
) -> Image.Image:
    """The part ``inside`` (left, top, right, bottom) of ``image`` resized to ``size``.

    Only that part is computed: a panorama of 1 x 20,000 pixels would otherwise become gigabytes.
    """
    if size == image.size:
        return image.crop(inside)
    x, y = image.width / size[0], image.height / size[1]
    left, top, right, bottom = inside
    box = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
    return image.resize((right - left, bottom - top), resample, box=box)
