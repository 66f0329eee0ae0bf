"""The image as scaled Fourier coefficients of decorrelated colours.

An optimiser that moves every coefficient at the same pace, under weights that fall as 1/f, draws large
forms before small ones, as natural images are made. B = icon, C = canvas side, F = C // 2 + 1.
Source: Olah, Mordvintsev and Schubert, "Feature Visualization" (Distill 2017), preconditioning; Lucid's
spatial/spectral.py and color.py for the scale and the colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atlas_pipeline.inversion import draws
from atlas_pipeline.inversion.settings import InversionSettings

START_STREAM = 1

# Square root of the colour covariance of ImageNet's pixels, over its longest column (Lucid's numbers).
_COLOUR_ROOT = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOUR_MIX = _COLOUR_ROOT / torch.linalg.vector_norm(_COLOUR_ROOT, dim=0).max()


def frequencies(size_px: int) -> Tensor:
    """Length of the frequency vector of each coefficient of a real 2-D FFT.

    Returns: (C, F) float32, cycles per pixel, 0 to about 0.71.
    """
    rows = torch.fft.fftfreq(size_px)
    cols = torch.fft.rfftfreq(size_px)
    return torch.sqrt(rows[:, None] ** 2 + cols[None, :] ** 2)


def spectrum_weights(settings: InversionSettings) -> Tensor:
    """Weight of each coefficient: gain / f ** falloff, times a smooth low-pass.

    The low-pass is 1 up to half the cut-off, falls as a raised cosine, and is 0 from one and a half
    cut-offs on. Frequency 0 counts as the lowest that fits the canvas.

    Returns: (C, F) float32.
    """
    size_px = settings.canvas_px
    frequency = frequencies(size_px)
    # A pattern eight pixels long weighs the same under every falloff, so that falloffs can be compared.
    reference = 0.125
    falloff = settings.spectrum_falloff
    weights = settings.spectrum_gain / reference * (reference / frequency.clamp(min=1.0 / size_px)) ** falloff
    fall = ((frequency / settings.spectrum_cutoff) - 0.5).clamp(0.0, 1.0)
    return weights * (0.5 + 0.5 * torch.cos(torch.pi * fall))


def start_coefficients(seeds: Sequence[int], settings: InversionSettings) -> Tensor:
    """Each icon's own starting coefficients, normal with sd `start_sd`.

    Returns: (B, 3, C, F, 2) float32 on the CPU; the last axis is (real, imaginary).
    """
    size_px = settings.canvas_px
    shape = (3, size_px, size_px // 2 + 1, 2)
    num = 3 * size_px * (size_px // 2 + 1) * 2
    return (draws.normal(seeds, START_STREAM, num) * settings.start_sd).float().view(len(seeds), *shape)


def render(coefficients: Tensor, weights: Tensor, contrast: float) -> Tensor:
    """The canvas of each icon.

    Args:    coefficients: (B, 3, C, F, 2) real. weights: (C, F), as `spectrum_weights`.
    Returns: (B, 3, C, C) in (0, 1), red, green, blue.
    """
    size_px = coefficients.shape[2]
    spectrum = torch.view_as_complex(coefficients * weights[..., None])
    # Orthonormal: a coefficient then moves the pixels by the same energy whatever the canvas' size.
    planes = torch.fft.irfft2(spectrum, s=(size_px, size_px), norm="ortho")
    mix = COLOUR_MIX.to(planes) * contrast
    return torch.sigmoid(torch.einsum("rk,bkyx->bryx", mix, planes))


def middle(canvas: Tensor, size_px: int) -> Tensor:
    """The icon: the canvas' middle. canvas: (B, 3, C, C). Returns: (B, 3, size_px, size_px), a view."""
    edge = (canvas.shape[-1] - size_px) // 2
    return canvas[..., edge : edge + size_px, edge : edge + size_px]
