"""One image from (seed, index): its class, the place of its shape, its textures and its colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.images.generated.fields import SIDE_PX, Field, X, Y, coverage
from atlas_pipeline.images.generated.image_classes import CLASSES, OUTLINE, PART_NAMES, TEXTURES, PartClass
from atlas_pipeline.images.generated.palettes import coloured, palette, plain
from atlas_pipeline.images.generated.shapes import PLAIN_SHAPES, SHAPES

#: Increase when a (seed, index) gives another image than before.
VERSION = 1


@dataclass(frozen=True, slots=True)
class _Placed:
    """A placed shape: a signed distance in pixels for each region, and the width of the outline."""

    regions: tuple[Field, ...]
    outline_px: float


def label(seed: int, index: int) -> int:
    """The class of an image, without drawing it."""
    return _label(np.random.default_rng((seed, index)))


def image(seed: int, index: int) -> tuple[NDArray[np.uint8], int]:
    """One generated image: a pure function of (seed, index).

    Args:    seed, index: not negative.
    Returns: uint8 (row, column, RGB), 64 x 64 pixels; and its class, an index into CLASS_NAMES.

    Example:
        >>> pixels, class_index = image(seed=0, index=0)
        >>> pixels.shape, pixels.dtype
        ((64, 64, 3), dtype('uint8'))
    """
    rng = np.random.default_rng((seed, index))
    class_index = _label(rng)
    part_class = CLASSES[class_index]
    placed = _place(rng, part_class)
    pixels = _texture(rng, part_class.background)
    outline = plain(rng)
    for region, surface in zip(placed.regions, part_class.surfaces, strict=True):
        _blend(pixels, coverage(region), outline)
        _blend(pixels, coverage(region - np.float32(placed.outline_px)), _texture(rng, surface))
    slope_x, slope_y = rng.normal(0, 0.0025, 2).astype(np.float32)
    light = (np.float32(rng.uniform(0.85, 1.1)) + slope_x * X + slope_y * Y)[..., None]
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(0.012)
    return (np.clip(pixels * light + noise, 0, 1) * 255 + 0.5).astype(np.uint8), class_index


def part_map(seed: int, index: int) -> NDArray[np.uint8]:
    """The part that covers each pixel of an image: uint8 (row, column), indices into PART_NAMES."""
    rng = np.random.default_rng((seed, index))
    part_class = CLASSES[_label(rng)]
    placed = _place(rng, part_class)
    parts = np.full((SIDE_PX, SIDE_PX), PART_NAMES.index(part_class.background), np.uint8)
    for region, surface in zip(placed.regions, part_class.surfaces, strict=True):
        parts[region > 0] = OUTLINE
        parts[region > placed.outline_px] = PART_NAMES.index(surface)
    return parts


def part_at(seed: int, index: int, row: int, col: int, height: int, width: int) -> int:
    """The part that covers most of the pixels of one spatial position.

    Args:    row, col: the position in a feature map of `height` x `width`, which divides the image evenly.
    Returns: an index into PART_NAMES; in a tie, the lowest.
    """
    rows = slice(row * SIDE_PX // height, -(-(row + 1) * SIDE_PX // height))
    columns = slice(col * SIDE_PX // width, -(-(col + 1) * SIDE_PX // width))
    return int(np.bincount(part_map(seed, index)[rows, columns].ravel()).argmax())


def _label(rng: np.random.Generator) -> int:
    return int(rng.integers(len(CLASSES)))


def _place(rng: np.random.Generator, part_class: PartClass) -> _Placed:
    # Drawn before any texture or colour, so that the part map needs neither.
    turns_freely = part_class.shape in PLAIN_SHAPES
    angle = rng.uniform(-np.pi, np.pi) if turns_freely else rng.uniform(-0.2, 0.2)
    radius = np.float32(rng.uniform(18, 24))
    middle_x, middle_y = rng.uniform(-7, 7, 2).astype(np.float32)
    mirror = 1 if rng.random() < 0.5 else -1
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    across, down = (X - middle_x) / radius, (Y - middle_y) / radius
    u, v = (across * cosine + down * sine) * mirror, down * cosine - across * sine
    regions = tuple(region * radius for region in SHAPES[part_class.shape](u, v))
    return _Placed(regions, rng.uniform(1.5, 2.2))


def _texture(rng: np.random.Generator, name: str) -> np.ndarray:
    return coloured(TEXTURES[name](rng), palette(rng))


def _blend(pixels: np.ndarray, cover: Field, colour: np.ndarray) -> None:
    pixels += cover[..., None] * (colour - pixels)
