"""A layout as a picture: how many activations where, and which classes they are of.

Layouts have y up; which picture row that makes is for ``numerics.grid`` to say.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atlas_pipeline.numerics.grid import cell_of, counts_of
from atlas_pipeline.pictures.colours import UNLABELLED, class_colours, density_colours

# Positions within a pixel that a point of a scatter plot can take, along each axis.
_SUBPIXELS = 8
# Rows of points splatted at once: bounds the memory at a million points.
_POINTS_AT_ONCE = 1 << 20


def density(xy: NDArray[np.floating], size_px: int) -> NDArray[np.float64]:
    """How densely the layout is populated around each pixel, with a Gaussian window.

    The window narrows as the points get more, with the power -1/6 of their number (Scott's rule), at
    a sixth of Scott's width: a layout is all clumps and filaments, and his rule is for one smooth hump.

    Args:    xy: (activation, 2) in [0, 1], y up.
    Returns: (size_px, size_px), activations per pixel; they add up to the number of activations.
    """
    if len(xy) == 0:
        return np.zeros((size_px, size_px))
    picture = counts_of(xy, size_px).astype(np.float64)
    width_px = size_px * 0.25 * len(xy) ** (-1 / 6) / 6
    return _smooth(_smooth(picture, width_px).T, width_px).T


def density_map(amount: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A density as colours, white where there is nothing; the colour goes with the square root.

    Args:    amount: (size_px, size_px), activations per pixel.
    Returns: (size_px, size_px, 3), sRGB.
    """
    return density_colours(np.sqrt(amount / max(densest(amount), 1e-12)))


def densest(amount: NDArray[np.float64]) -> float:
    """The density that gets the darkest colour: exceeded by a thousandth of the populated pixels."""
    populated = amount[amount > amount.max(initial=0) * 1e-3]
    return float(np.quantile(populated, 0.999)) if populated.size else 0.0


def scatter_plot(
    xy: NDArray[np.floating],
    labels: ArrayLike | None = None,
    num_classes: int | None = None,
    size_px: int = 1000,
) -> NDArray[np.uint8]:
    """Every activation as a translucent dot, in the colour of its image's class.

    Where dots overlap their colours mix evenly: no class lies on top, and the picture does not depend on
    the order of the points. Dots get smaller and fainter as they get more.

    Args:    xy: (activation, 2) in [0, 1], y up. labels: (activation,) class indices, -1 for none;
             None or no label at all: coloured by density. num_classes: how many colours there are
             in all; None: as many as the labels need.
    Returns: (size_px, size_px, 3), sRGB on white.
    """
    label = np.full(len(xy), -1) if labels is None else np.asarray(labels, dtype=np.int64)
    if len(label) != len(xy):
        raise ValueError(f"{len(label)} labels for {len(xy)} points")
    colours = _dot_colours(xy, label, num_classes, size_px)
    radius_px = dot_radius_px(len(xy), size_px)
    # cover, red, green, blue: each dot adds its share of every pixel it touches.
    ink = np.zeros((4, size_px * size_px))
    for start in range(0, len(xy), _POINTS_AT_ONCE):
        chunk = slice(start, start + _POINTS_AT_ONCE)
        channels = np.vstack([np.ones(len(xy[chunk])), colours[chunk].T])
        for pixel, share in _covered(xy[chunk], radius_px, size_px):
            touched = share > 0
            for total, channel in zip(ink, channels, strict=True):
                weight = (share * channel)[touched]
                total += np.bincount(pixel[touched], weight, minlength=size_px * size_px)
    return _on_white(ink, len(xy), radius_px, size_px)


def _dot_colours(
    xy: NDArray[np.floating], label: NDArray[np.int64], num_classes: int | None, size_px: int
) -> NDArray[np.uint8]:
    if label.max(initial=-1) < 0:
        amount = density(xy, size_px)
        row, col = cell_of(xy, size_px).T
        # Not from white: a dot that is there is seen.
        return density_colours(0.3 + 0.7 * np.sqrt(amount[row, col] / max(densest(amount), 1e-12)))
    num_colours = int(label.max()) + 1 if num_classes is None else num_classes
    # The last colour is for label -1.
    return np.concatenate([class_colours(num_colours), UNLABELLED[None]])[label]


def dot_radius_px(num_points: int, size_px: int) -> float:
    """Radius of a scatter plot's dots: at 1000 px 1.9 px for 20,000 points, 0.6 px for a million."""
    return float(np.clip(0.0019 * (20_000 / max(num_points, 1)) ** 0.3, 0.0006, 0.006) * size_px)


def _covered(
    xy: NDArray[np.floating], radius_px: float, size_px: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """For each pixel of a dot's neighbourhood: its flat index and the share the dot covers, both (point,)."""
    # Through cell_of at a finer grid, so that orientation keeps its one home.
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


def _on_white(ink: NDArray[np.float64], num_points: int, radius_px: float, size_px: int) -> NDArray[np.uint8]:
    # How many dots lie over one another where the map is populated, were they spread over half of it.
    overlap = num_points * np.pi * radius_px**2 / (0.5 * size_px**2)
    opacity = float(np.clip(1.0 / (1 + overlap), 0.2, 0.85))
    cover, colour = ink[0], ink[1:] / np.maximum(ink[0], 1e-12)
    alpha = 1 - (1 - opacity) ** cover
    return np.rint(255 + alpha * (colour - 255)).T.reshape(size_px, size_px, 3).astype(np.uint8)


def _smooth(picture: NDArray[np.float64], width_px: float) -> NDArray[np.float64]:
    """Gaussian window of this standard deviation down the rows; borders reflect, so nothing is lost."""
    reach = min(int(np.ceil(3 * width_px)), picture.shape[0])
    offsets = np.arange(-reach, reach + 1)
    window = np.exp(-0.5 * (offsets / max(width_px, 1e-6)) ** 2)
    window /= window.sum()
    padded = np.pad(picture, ((reach, reach), (0, 0)), mode="symmetric")
    smoothed = np.zeros_like(picture)
    for weight, start in zip(window, offsets + reach, strict=True):
        smoothed += weight * padded[start : start + picture.shape[0]]
    return smoothed
