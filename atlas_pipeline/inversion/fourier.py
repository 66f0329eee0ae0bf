"""Image parametrisation: scaled Fourier coefficients of decorrelated colours.

The optimiser moves all coefficients at one learning rate. Weights that fall as 1/f make it draw large forms
before small ones, as in the spectrum of natural images.
B = icon, P = plane, C = canvas side, S = icon side, F = C // 2 + 1. The canvas of an icon is square; that of
another picture has H rows and W columns, and F = W // 2 + 1.
Source: Olah, Mordvintsev and Schubert, "Feature Visualization" (Distill 2017), preconditioning; Lucid's
spatial/spectral.py and color.py for the scale and the colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.inversion import random_streams
from atlas_pipeline.inversion.settings import InversionSettings

START_STREAM = 1
_MIN_RELATIVE_WEIGHT = 1e-4
# Random numbers drawn at a time: on a CPU, larger arrays cost more to allocate than to fill.
_NUMBERS_TOGETHER_CPU = 1 << 17
_NUMBERS_TOGETHER_GPU = 1 << 23

# Square root of the colour covariance of ImageNet pixels, divided by its longest column (Lucid's values).
_COLOUR_ROOT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_MIX = _COLOUR_ROOT / torch.linalg.vector_norm(_COLOUR_ROOT, dim=0).max()


def frequencies(height_px: int, width_px: int) -> Tensor:
    """Length of the frequency vector of each coefficient of a real 2-D FFT.

    Returns: (H, F) float32, cycles per pixel, 0 to about 0.71.
    """
    rows = torch.fft.fftfreq(height_px)
    cols = torch.fft.rfftfreq(width_px)
    return torch.sqrt(rows[:, None] ** 2 + cols[None, :] ** 2)


def spectrum_weights(settings: InversionSettings, size_px: tuple[int, int] | None = None) -> Tensor:
    """Weight of each coefficient: gain / f ** falloff, times a smooth low-pass.

    The low-pass is 1 up to half the cut-off frequency, then falls as a raised cosine, and is 0 from 1.5 times
    the cut-off. Frequency 0 is treated as the lowest non-zero frequency of the canvas.

    Args:    size_px: (H, W) of the canvas; None: the square canvas of the settings' icons.
    Returns: (H, F) float32.
    """
    height_px, width_px = size_px or (settings.canvas_px, settings.canvas_px)
    frequency = frequencies(height_px, width_px)
    # A period of eight pixels has the same weight under every falloff, so that falloffs are comparable.
    reference = 0.125
    falloff = settings.spectrum_falloff
    weights = (
        settings.spectrum_gain
        / reference
        * (reference / frequency.clamp(min=1.0 / max(height_px, width_px))) ** falloff
    )
    fall = ((frequency / settings.spectrum_cutoff) - 0.5).clamp(0.0, 1.0)
    return weights * (0.5 + 0.5 * torch.cos(torch.pi * fall))


def start_coefficients(
    seeds: Sequence[int],
    settings: InversionSettings,
    num_planes: int = 3,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Random initial coefficients of each icon, normal with standard deviation `start_sd`.

    Returns: (B, P, C, F, 2) float32 on the device; the last axis is (real, imaginary).
    """
    size_px = settings.canvas_px
    shape = (num_planes, size_px, size_px // 2 + 1, 2)
    num = math.prod(shape)
    coefficients = torch.empty(len(seeds), num, device=device)
    on_cpu = coefficients.device.type == "cpu"
    num_together = max(1, (_NUMBERS_TOGETHER_CPU if on_cpu else _NUMBERS_TOGETHER_GPU) // num)
    for first in range(0, len(seeds), num_together):
        part = slice(first, first + num_together)
        normal = random_streams.normal(seeds[part], START_STREAM, num, device)
        coefficients[part] = normal.mul_(settings.start_sd)
    return coefficients.view(len(seeds), *shape)


def planes(
    coefficients: Tensor, weights: Tensor, mirrored: Tensor | None = None, width_px: int | None = None
) -> Tensor:
    """Inverse FFT of the weighted coefficients: each icon's canvas in decorrelated colours.

    Args:    coefficients: (B, P, H, F, 2) real. weights: (P, H, F) or (H, F), as `spectrum_weights`.
             mirrored: `mirrored_weights` of the weights, if they are at hand. width_px: W; None: a square.
    Returns: (B, P, H, W).
    """
    width_px = coefficients.shape[2] if width_px is None else width_px
    mirrored = mirrored_weights(weights, width_px) if mirrored is None else mirrored
    return _Planes.apply(coefficients, weights, mirrored, width_px)


def mirrored_weights(weights: Tensor, width_px: int | None = None) -> Tensor:
    """Weights (P, H, F) or (H, F) of the gradient: doubled, except in the columns that mirror themselves.

    The other coefficients stand for their mirrored complex conjugates as well. width_px: W; None: a square.
    """
    width_px = weights.shape[-2] if width_px is None else width_px
    doubled = weights.clone()
    doubled[..., 1 : (width_px + 1) // 2] *= 2
    return doubled


class _Planes(torch.autograd.Function):
    """Inverse real FFT, defined for every spectrum.

    Column 0 of a real image's spectrum mirrors itself, and so does column W / 2 if W is even. Free
    coefficients break this symmetry, and FFT libraries may then give different images. Here the transform
    along the columns comes first. It turns the part that breaks the symmetry into imaginary numbers, which
    are removed. A gradient is the spectrum of a real image, so it has the symmetry already.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, weights: Tensor, mirrored: Tensor, width_px: int) -> Tensor:
        ctx.save_for_backward(mirrored)
        spectrum = torch.view_as_complex(coefficients * weights[..., None])
        # Orthonormal: a coefficient changes the pixels by the same energy at every canvas size.
        half = torch.fft.ifft(spectrum, dim=-2, norm="ortho")
        own_mirrors = slice(None, None, width_px // 2 if width_px % 2 == 0 else width_px)
        torch.view_as_real(half)[..., own_mirrors, 1].zero_()
        return torch.fft.irfft(half, n=width_px, norm="ortho")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (mirrored,) = ctx.saved_tensors
        spectrum = torch.view_as_real(torch.fft.rfft2(gradients[0], norm="ortho"))
        return spectrum * mirrored[..., None], None, None, None


def colour_mix(contrast: float) -> Tensor:
    """(3, 3): decorrelated colours to half the logits of red, green and blue."""
    return COLOUR_MIX * contrast / 2


def colours(planes: Tensor, mix: Tensor, contrast: float) -> Tensor:
    """Convert decorrelated planes to RGB pixels in (0, 1); a fourth plane becomes opacity.

    Pixels are sigmoids of logits, computed as (1 + tanh(logit / 2)) / 2. On a CPU, `torch.tanh` gives the
    same bits for any number of threads. `torch.sigmoid` does not: it rounds the last elements of each
    thread's share differently.

    Args: planes: (B, P, side, side). mix: `colour_mix` of the contrast, on the planes' device.
    """
    half_logits = torch.einsum("rk,bkyx->bryx", mix, planes[:, :3])
    if planes.shape[1] > 3:
        half_logits = torch.cat([half_logits, contrast / 2 * planes[:, 3:]], dim=1)
    return torch.tanh(half_logits) * 0.5 + 0.5


def planes_from_images(images: Tensor, settings: InversionSettings) -> Tensor:
    """Inverse of `colours`: decorrelated planes of finished icons, padded to the canvas by reflection.

    Args:    images: (B, S, S, P) uint8.
    Returns: (B, P, C, C) float32, decorrelated colours.
    """
    # Half a level inside black and white: the sigmoid never reaches 0 or 1.
    planes = decorrelated(images, settings.contrast, margin=0.5 / 255)
    edge = (settings.canvas_px - settings.size_px) // 2
    # A reflection is at most as wide as the image: pad in several steps if the canvas needs more.
    while edge > 0:
        step = min(edge, planes.shape[-1] - 1) if planes.shape[-1] > 1 else edge
        mode = "reflect" if planes.shape[-1] > 1 else "replicate"
        planes = torch.nn.functional.pad(planes, [step] * 4, mode=mode)
        edge -= step
    return planes


def decorrelated(images: Tensor, contrast: float, margin: float) -> Tensor:
    """(B, H, W, P) uint8 -> planes (B, P, H, W); pixels are clamped to [margin, 1 - margin]."""
    pixels = (images.permute(0, 3, 1, 2).float() / 255).clamp(margin, 1 - margin)
    logits = torch.logit(pixels) / contrast
    colours = torch.einsum("kr,bryx->bkyx", torch.linalg.inv(COLOUR_MIX).to(logits), logits[:, :3])
    return torch.cat([colours, logits[:, 3:]], dim=1)


def coefficients_from_planes(planes: Tensor, weights: Tensor) -> Tensor:
    """Inverse of `planes`: coefficients whose weighted spectrum equals that of the planes.

    Frequencies with almost no weight get coefficient 0; they would otherwise need huge coefficients.

    Args:    planes: (B, P, C, C). weights: (P, C, F).
    Returns: (B, P, C, F, 2) float32.
    """
    spectrum = torch.view_as_real(torch.fft.rfft2(planes, norm="ortho"))
    floor = _MIN_RELATIVE_WEIGHT * weights.amax(dim=(-2, -1), keepdim=True)
    return torch.where(weights > floor, 1 / weights.clamp(min=1e-12), 0.0)[..., None] * spectrum


def magnitude_spectrum(images: Tensor, settings: InversionSettings) -> Tensor:
    """Mean magnitude of each coefficient over real images, resampled to the canvas size.

    The magnitude of an orthonormal FFT at a frequency does not depend on the image size, except for the mean
    colour, which grows with the side. Saturated pixels have no finite logit, so pixels are clamped two levels
    inside black and white.

    Args:    images: (image, S, S, 3) uint8, of the icons' size.
    Returns: (3, C, F) float32, decorrelated colours.
    Example:

    >>> import torch
    >>> images = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8)
    >>> magnitude = magnitude_spectrum(images, InversionSettings(size_px=8, canvas_scale=1.5))
    >>> magnitude.shape  # a canvas of 12 px
    torch.Size([3, 12, 7])
    """
    side, size_px = images.shape[1], settings.canvas_px
    planes = decorrelated(images, settings.contrast, margin=2 / 255)
    # Hann window: without it the jump between opposite borders adds a cross of high frequencies.
    window = torch.hann_window(side + 2, periodic=False)[1:-1]
    window = window[:, None] * window[None, :]
    means = planes.mean((2, 3), keepdim=True)
    spectrum = torch.fft.fft2((planes - means) * window, norm="ortho").abs() / window.square().mean().sqrt()
    average = torch.fft.fftshift(spectrum.mean(0), dim=(-2, -1))
    # Resample: each canvas frequency reads the spectrum, shifted to start at -1/2, at its own location.
    rows, cols = torch.fft.fftfreq(size_px), torch.fft.rfftfreq(size_px)
    sample_points = torch.stack(torch.meshgrid(cols, rows, indexing="xy"), dim=-1)
    first = -(side // 2) / side
    sample_points = 2 * ((sample_points - first) * side + 0.5) / side - 1
    magnitude = torch.nn.functional.grid_sample(
        average[None], sample_points[None], padding_mode="border", align_corners=False
    )[0]
    magnitude[:, 0, 0] = means.abs().mean(0).view(3) * size_px
    return magnitude


def crop(images: Tensor, low: int, high: int) -> Tensor:
    """Rows and columns [low, high) of images (B, P, side, side), a view; its gradient is copied once."""
    return _Crop.apply(images, low, high)


class _Crop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, low: int, high: int) -> Tensor:
        ctx.shape, ctx.part = images.shape, slice(low, high)
        return images[..., low:high, low:high]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].new_zeros(ctx.shape)
        gradient[..., ctx.part, ctx.part] = gradients[0]
        return gradient, None, None


def middle(canvas: Tensor, size_px: int) -> Tensor:
    """Central crop of the canvas (B, P, C, C): the icon, (B, P, size_px, size_px), a view."""
    edge = (canvas.shape[-1] - size_px) // 2
    return canvas[..., edge : edge + size_px, edge : edge + size_px]
