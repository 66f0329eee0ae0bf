"""Colour scales: perceptually even steps for amounts, distinguishable colours for classes.

They are computed in OKLab (Ottosson 2020, "A perceptual color space for image processing"), where equal
distances look equal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Twelve colours that are distinguishable with any colour vision: six colours of Okabe and Ito (2008) that are
# visible on white, then colours chosen greedily for distance. The closest pair is 0.076 apart in OKLab, over
# normal vision and full protan-, deuter- and tritanopia (Machado et al. 2009); for Tol's ten "muted" colours
# it is 0.052.
_QUALITATIVE = "0072B2 E69F00 009E73 CC79A7 56B4E9 D55E00 601800 E8D81F 242478 903C3C 9C6CFC 9CE4B4"
QUALITATIVE = np.array([list(bytes.fromhex(code)) for code in _QUALITATIVE.split()], dtype=np.uint8)
# Grey level of the background of pictures, which is visible through transparent icons.
PAPER = 255
UNLABELLED = np.array([120, 120, 126], dtype=np.uint8)

# (amount, lightness, chroma, hue in degrees): white, straw, orange, rose, violet, midnight.
_DENSITY_STOPS = np.array(
    [
        [0.00, 1.00, 0.000, 95],
        [0.12, 0.92, 0.070, 88],
        [0.35, 0.77, 0.140, 55],
        [0.60, 0.58, 0.180, 14],
        [0.80, 0.40, 0.150, -35],
        [1.00, 0.20, 0.085, -75],
    ]
)


def density_colours(amount: ArrayLike) -> NDArray[np.uint8]:
    """Colours from white (0) through orange and rose to midnight blue (1), with evenly falling lightness.

    Args:    amount: any shape; values are clipped to [0, 1].
    Returns: shape of amount + (3,) uint8, sRGB.
    """
    steps = np.linspace(0, 1, 1024)
    lightness, chroma, hue = (np.interp(steps, _DENSITY_STOPS[:, 0], _DENSITY_STOPS[:, k]) for k in (1, 2, 3))
    table = srgb_from_oklch(lightness, chroma, hue)
    picked = np.rint(np.clip(np.asarray(amount, dtype=np.float64), 0, 1) * (len(steps) - 1)).astype(np.int64)
    return table[picked]


def class_colours(num_classes: int) -> NDArray[np.uint8]:
    """One colour per class: the colour-blind-safe ``QUALITATIVE`` up to 12 classes, else evenly spaced hues.

    Returns: (num_classes, 3) uint8, sRGB.
    """
    if num_classes <= len(QUALITATIVE):
        return QUALITATIVE[:num_classes]
    # The hues do not span the whole circle, so that the first and the last class differ. Up to 40 classes,
    # lightness cycles through three levels, so that adjacent classes are distinguishable.
    hue = np.linspace(20, 340, num_classes)
    lightness = np.array([0.66, 0.52, 0.78])[np.arange(num_classes) % 3] if num_classes <= 40 else 0.66
    return srgb_from_oklch(np.broadcast_to(lightness, hue.shape), np.full(hue.shape, 0.14), hue)


def srgb_from_oklch(lightness: ArrayLike, chroma: ArrayLike, hue: ArrayLike) -> NDArray[np.uint8]:
    """OKLCH to 8-bit sRGB; colours outside sRGB are clipped in each channel.

    Args:    lightness: in [0, 1]. chroma: 0 or more. hue: degrees. All have the same shape.
    Returns: their shape + (3,) uint8.
    """
    angle = np.deg2rad(np.asarray(hue, dtype=np.float64))
    lab = np.stack([np.asarray(lightness), chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    cone = lab @ np.array(
        [
            [1, 1, 1],
            [0.3963377774, -0.1055613458, -0.0894841775],
            [0.2158037573, -0.0638541728, -1.2914855480],
        ]
    )
    linear = cone**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)
