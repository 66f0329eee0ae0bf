"""Whether a person can read an icon: how far its pixel statistics are from those of real images of its size.

An icon with high fidelity may still be saturated noise. Real crops serve as the reference. Distances are in
units of the standard deviation among real crops, so a real crop has a distance of about 1 from their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]

# A channel within two levels of 0 or 255 is treated as clipped.
SATURATED_LOW, SATURATED_HIGH = 2, 253

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Keeps the logarithm of an empty band finite; far below the step of an 8-bit pixel.
_POWER_FLOOR = 1e-8
_SPECKLE_FROM = 0.3


@dataclass(frozen=True, slots=True)
class RealStatistics:
    """Mean and standard deviation of each statistic over real crops."""

    spectrum_mean: NDArray[np.float64]
    """(band,), log10 of power."""
    spectrum_sd: NDArray[np.float64]
    colour_mean: NDArray[np.float64]
    """(6,), as in `colour_statistics`."""
    colour_sd: NDArray[np.float64]


def saturated_share(images: Images) -> NDArray[np.float32]:
    """Share of pixels with any channel at most 2 or at least 253 (of 255).

    Args:    images: (image, height, width, 3).
    Returns: (image,) float32 in [0, 1].
    """
    images = _checked(images)
    clipped = ((images <= SATURATED_LOW) | (images >= SATURATED_HIGH)).any(axis=-1)
    return clipped.mean(axis=(1, 2)).astype(np.float32)


def band_frequencies(side_px: int) -> NDArray[np.float64]:
    """Centre frequency of each band of `log_spectrum`, in cycles per pixel, up to 0.5."""
    return (np.arange(side_px // 2) + 1) / side_px


def log_spectrum(images: Images) -> NDArray[np.float64]:
    """Radially averaged power of the luminance, as log10, with a Hann window.

    Args:    images: (image, side, side, 3), side at least 8.
    Returns: (image, band); a band is a whole number of cycles per image, 1 to side // 2.
    """
    images = _checked(images)
    side_px = images.shape[1]
    if images.shape[2] != side_px or side_px < 8:
        raise ValueError(f"images are {images.shape[1:3]}; a spectrum needs squares of at least 8 px")
    window = np.hanning(side_px + 2)[1:-1]
    window = np.outer(window, window)
    luminance = images @ _LUMINANCE / 255
    # Subtract the windowed mean first, or the brightness leaks into the lowest band.
    luminance -= (luminance * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    power = np.abs(np.fft.fft2(luminance * window)) ** 2 / (window**2).sum()
    cycles = np.fft.fftfreq(side_px) * side_px
    band = np.rint(np.hypot(cycles[:, None], cycles[None, :])).astype(int)
    means = [power[:, band == which].mean(axis=1) for which in range(1, side_px // 2 + 1)]
    return np.log10(np.stack(means, axis=1) + _POWER_FLOOR)


def colour_statistics(images: Images) -> NDArray[np.float64]:
    """Mean and standard deviation of luminance, red-green and yellow-blue over each image's pixels.

    Returns: (image, 6), in [0, 1] light units: three means, then three standard deviations.
    """
    images = _checked(images)
    pixels = images.reshape(len(images), images.shape[1] * images.shape[2], 3) / 255
    red, green, blue = np.moveaxis(pixels, -1, 0)
    planes = np.stack([pixels @ _LUMINANCE, red - green, (red + green) / 2 - blue], axis=-1)
    return np.concatenate([planes.mean(axis=1), planes.std(axis=1)], axis=1)


def real_statistics(images: Images) -> RealStatistics:
    """Reference statistics from real crops of the icons' size.

    Args:    images: (image, side, side, 3), at least 2.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} real crops; a standard deviation needs at least 2")
    spectra, colours = log_spectrum(images), colour_statistics(images)
    return RealStatistics(spectra.mean(0), spectra.std(0), colours.mean(0), colours.std(0))


def spectrum_distance(images: Images, real: RealStatistics) -> NDArray[np.float32]:
    """Root mean square over bands of (log power - real mean) / real deviation; about 1 for real crops.

    Returns: (image,) float32.
    """
    return _distance(log_spectrum(images), real.spectrum_mean, real.spectrum_sd)


def colour_distance(images: Images, real: RealStatistics) -> NDArray[np.float32]:
    """Distance as in `spectrum_distance`, over the six colour statistics. Returns: (image,) float32."""
    return _distance(colour_statistics(images), real.colour_mean, real.colour_sd)


def speckle(images: Images, real: RealStatistics) -> NDArray[np.float32]:
    """Excess power of the highest frequencies over the mean real crop, in decades.

    Uses bands from 0.3 cycles per pixel, that is, patterns of up to three pixels.
    Returns: (image,) float32; 0 means as in real crops.
    """
    spectra = log_spectrum(images)
    top = band_frequencies(images.shape[1]) >= _SPECKLE_FROM
    return (spectra - real.spectrum_mean)[:, top].mean(axis=1).astype(np.float32)


def _distance(values: NDArray, mean: NDArray, sd: NDArray) -> NDArray[np.float32]:
    if values.shape[1:] != mean.shape:
        raise ValueError("images and real crops must have the same side")
    return np.sqrt((((values - mean) / np.maximum(sd, 1e-6)) ** 2).mean(axis=1)).astype(np.float32)


def _checked(images: Images) -> Images:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"images are {images.dtype} {images.shape}; expected uint8 (image, height, width, 3)"
        )
    return images
