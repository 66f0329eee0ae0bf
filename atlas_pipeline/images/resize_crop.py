"""Resize a decoded image's shorter side and crop the centre square that a network takes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

MOSTLY_CROPPED = 8  # resized pixels per cropped pixel above which only the crop is computed
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Geometry(Protocol):
    """The geometric part of a model's preprocessing."""

    @property
    def resize(self) -> int | None:
        """Shorter side in pixels; None: not resized."""

    @property
    def crop(self) -> int:
        """Side of the centre crop, in pixels."""

    @property
    def interpolation(self) -> str:
        """bilinear or bicubic, both antialiased."""


def apply_preprocess(image: np.ndarray, preprocess: Geometry) -> np.ndarray:
    """Resize and crop as torchvision's classification presets do.

    An image smaller than the crop is extended by its border pixels (torchvision extends it with black).

    Args:    image: (height, width, 3) uint8.
    Returns: (3, crop, crop) uint8.
    """
    width, height = _resized(image.shape[1], image.shape[0], preprocess.resize)
    left, right = _window(width, preprocess.crop)
    top, bottom = _window(height, preprocess.crop)
    inside = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    pixels = _region(image, (width, height), inside, preprocess.interpolation)
    if pixels.shape[1:] != (preprocess.crop, preprocess.crop):
        beyond = ((0, 0), (inside[1] - top, bottom - inside[3]), (inside[0] - left, right - inside[2]))
        pixels = np.pad(pixels, beyond, mode="edge")
    return pixels


def _resized(width: int, height: int, shorter: int | None) -> tuple[int, int]:
    """Size after resizing; the longer side is truncated to whole pixels, as in torchvision."""
    if shorter is None:
        return width, height
    if width <= height:
        return shorter, shorter * height // width
    return shorter * width // height, shorter


def _window(side: int, crop: int) -> tuple[int, int]:
    """Start and stop of the centre crop; they exceed [0, side) if the side is smaller than the crop."""
    # torchvision rounds halves to even when cropping, and down when padding.
    start = round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
    return start, start + crop


def _region(
    image: np.ndarray, size: tuple[int, int], inside: tuple[int, int, int, int], interpolation: str
) -> np.ndarray:
    """The part ``inside`` (left, top, right, bottom) of ``image`` resized to ``size``: (3, height, width)."""
    left, top, right, bottom = inside
    height, width = image.shape[:2]
    if size == (width, height):
        return image[top:bottom, left:right].transpose(2, 0, 1)
    if size[0] * size[1] > MOSTLY_CROPPED * (right - left) * (bottom - top):
        # Pillow computes this part alone; otherwise a panorama of 1 x 20,000 pixels would grow to gigabytes.
        x, y = width / size[0], height / size[1]
        box = (left * x, top * y, min(right * x, width), min(bottom * y, height))
        part = Image.fromarray(image).resize((right - left, bottom - top), FILTERS[interpolation], box=box)
        return np.asarray(part).transpose(2, 0, 1)
    # torch's uint8 code computes the same as Pillow's, vectorised: a third of the time, with rounding
    # differences of 1 level. A channels-last batch of one avoids a copy.
    batch = torch.from_numpy(np.require(image[None], requirements=["C", "W"])).permute(0, 3, 1, 2)
    resized = functional.interpolate(batch, size=(size[1], size[0]), mode=interpolation, antialias=True)
    return resized[0, :, top:bottom, left:right].numpy()
