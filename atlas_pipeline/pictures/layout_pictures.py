"""Pictures of a layout: its density, and a scatter plot of its activations by class.

Layouts have y up. Only ``numerics.grid`` converts y to picture rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atlas_pipeline.numerics.grid import cell_of, counts_of
from atlas_pipeline.pictures.colours import UNLABELLED, class_colours, density_colours

# Steps per pixel, along each axis, to which positions in a scatter plot are rounded.
_SUBPIXELS = 8
# Points drawn at once, which bounds the memory for millions of points.
_POINTS_AT_ONCE = 1 << 20
# Columns smoothed at once, which fit in a core's cache.
_COLUMNS_AT_ONCE = 32


def density(xy: NDArray[np.floating], size_px: int) -> NDArray[np.float64]:
    """Density of the layout at each pixel, by a Gaussian kernel.

    The width of the kernel is proportional to n^(-1/6) for n points (Scott's rule), but a sixth of Scott's
    width: a layout has clumps and filaments, whereas Scott's rule assumes one smooth mode.

    Args:    xy: (activation, 2) in [0, 1], y up.
    Returns: (size_px, size_px) float64, activations per pixel; the sum is the number of activations.
    """
    if len(xy) == 0:
        return np.zeros((size_px, size_px))
    picture = counts_of(xy, size_px).astype(np.float64)
    width_px = size_px * 0.25 * len(xy) ** (-1 / 6) / 6
    return _smooth(_smooth(picture, width_px).T, width_px).T


def density_map(amount: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A density as colours, white for 0; the colour is proportional to the square root of the density.

    Args:    amount: (size_px, size_px), activations per pixel.
    Returns: (size_px, size_px, 3) uint8, sRGB.
    """
    return density_colours(np.sqrt(amount / max(densest(amount), 1e-12)))


def densest(amount: NDArray[np.float64]) -> float:
    """The density shown in the darkest colour: the 99.9th percentile over the populated pixels."""
    populated = amount[amount > amount.max(initial=0) * 1e-3]
    return float(np.quantile(populated, 0.999)) if populated.size else 0.0


def scatter_plot(
    xy: NDArray[np.floating],
    labels: ArrayLike | None = None,
    num_classes: int | None = None,
    size_px: int = 1000,
) -> NDArray[np.uint8]:
    """Every activation as a translucent dot, in the colour of its image's class.

    The colours of overlapping dots are averaged: no class covers another, and the order of the points does
    not matter. Dots are smaller and fainter the more there are.

    Args:    xy: (activation, 2) in [0, 1], y up. labels: (activation,) class indices, -1 for none; dots
             are coloured by density if this is None or has no class at all. num_classes: number of class
             colours; None: as many as the labels need.
    Returns: (size_px, size_px, 3) uint8, sRGB on white.
    Raises:  ValueError: labels and points that differ in number.
    """
    label = np.full(len(xy), -1) if labels is None else np.asarray(labels, dtype=np.int64)
    if len(label) != len(xy):
        raise ValueError(f"{len(label)} labels for {len(xy)} points")
    colours = _dot_colours(xy, label, num_classes, size_px)
    radius_px = dot_radius_px(len(xy), size_px)
    # Channels are cover, red, green and blue. Each dot adds its coverage of every pixel that it touches.
    ink = np.zeros((4, size_px * size_px))
    for start in range(0, len(xy), _POINTS_AT_ONCE):
        chunk = slice(start, start + _POINTS_AT_ONCE)
        channels = np.vstack([np.ones(len(xy[chunk])), colours[chunk].T])
        for pixel, share in _covered(xy[chunk], radius_px, size_px):
            touched = share > 0
            places, place, num_places = _places(pixel[touched], size_px * size_px)
            for total, channel in zip(ink, channels, strict=True):
                weight = (share * channel)[touched]
                total[places] += np.bincount(place, weight, minlength=num_places)
    return _on_white(ink, len(xy), radius_px, size_px)


def _dot_colours(
    xy: NDArray[np.floating], label: NDArray[np.int64], num_classes: int | None, size_px: int
) -> NDArray[np.uint8]:
    if label.max(initial=-1) < 0:
        amount = density(xy, size_px)
        row, col = cell_of(xy, size_px).T
        # Start at 0.3 rather than at white, so that every dot is visible.
        return density_colours(0.3 + 0.7 * np.sqrt(amount[row, col] / max(densest(amount), 1e-12)))
    num_colours = int(label.max()) + 1 if num_classes is None else num_classes
    # The last colour is for label -1.
    return np.concatenate([class_colours(num_colours), UNLABELLED[None]])[label]


def dot_radius_px(num_points: int, size_px: int) -> float:
    """Radius of a scatter plot's dots: in 1,000 px, 1.9 px for 20,000 points and 0.6 px for a million."""
    return float(np.clip(0.0019 * (20_000 / max(num_points, 1)) ** 0.3, 0.0006, 0.006) * size_px)


def _covered(
    xy: NDArray[np.floating], radius_px: float, size_px: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """For each pixel offset around a dot: flat pixel index and share covered by the dot, (point,) each."""
    # Positions come from cell_of on a finer grid, because only numerics.grid knows the orientation.
    centre = (cell_of(xy, size_px * _SUBPIXELS) + 0.5) / _SUBPIXELS
    middle = np.floor(centre).astype(np.int64)
    reach = int(np.ceil(radius_px + 0.5))
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            pixel = middle + np.array([down, right])
            away = np.hypot(*(pixel + 0.5 - centre).T)
            share = np.clip(radius_px + 0.5 - away, 0, 1) * min(1.0, radius_px * 2)
            share[((pixel < 0) | (pixel >= size_px)).any(axis=1)] = 0
            pixel = np.clip(pixel, 0, size_px - 1)
            yield pixel[:, 0] * size_px + pixel[:, 1], share


def _places(
    pixel: NDArray[np.int64], num_pixels: int
) -> tuple[slice | NDArray[np.int64], NDArray[np.int64], int]:
    """The pixels to add to, the place of each dot's pixel among them, and their number.

    A few dots touch a few pixels, and adding to those alone saves 900 passes over the whole picture.
    """
    if len(pixel) * 8 > num_pixels:
        return slice(None), pixel, num_pixels
    touched, place = np.unique(pixel, return_inverse=True)
    return touched, place, len(touched)


def _on_white(ink: NDArray[np.float64], num_points: int, radius_px: float, size_px: int) -> NDArray[np.uint8]:
    # Expected number of overlapping dots if they were spread evenly over half of the picture.
    overlap = num_points * np.pi * radius_px**2 / (0.5 * size_px**2)
    opacity = float(np.clip(1.0 / (1 + overlap), 0.2, 0.85))
    inked = np.flatnonzero(ink[0])
    cover, colour = ink[0, inked], ink[1:, inked] / np.maximum(ink[0, inked], 1e-12)
    alpha = 1 - (1 - opacity) ** cover
    picture = np.full((size_px * size_px, 3), 255, np.uint8)
    picture[inked] = np.rint(255 + alpha * (colour - 255)).T
    return picture.reshape(size_px, size_px, 3)


def _smooth(picture: NDArray[np.float64], width_px: float) -> NDArray[np.float64]:
    """The picture smoothed along its rows axis with a Gaussian of this standard deviation.

    Borders reflect, so the sum is preserved.
    """
    reach = min(int(np.ceil(3 * width_px)), picture.shape[0])
    offsets = np.arange(-reach, reach + 1)
    window = np.exp(-0.5 * (offsets / max(width_px, 1e-6)) ** 2)
    window /= window.sum()
    smoothed = np.zeros_like(picture)
    populated = np.flatnonzero(picture.any(axis=0))
    for start in range(0, len(populated), _COLUMNS_AT_ONCE):
        columns = populated[start : start + _COLUMNS_AT_ONCE]
        padded = np.pad(picture[:, columns], ((reach, reach), (0, 0)), mode="symmetric")
        total = np.zeros((picture.shape[0], len(columns)))
        for weight, top in zip(window, offsets + reach, strict=True):
            total += weight * padded[top : top + picture.shape[0]]
        smoothed[:, columns] = total
    return smoothed
