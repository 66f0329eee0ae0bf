"""Vignette: an icon's contrast fades towards its edge, where its position hardly looks.

An activation can depend on every pixel of its receptive field, but most of it is decided by the middle, the
effective field. Without a vignette, the ground around the field is as busy as the field: there, a pixel
changes the activation little, and the optimiser is free to draw. S = image side, C = canvas side.
Source: Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks" (NeurIPS 2016), for the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from atlas_pipeline.inversion import fourier, random_streams
from atlas_pipeline.inversion.objective import centre_activation
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.inversion.visible_window import FeatureMap
from atlas_pipeline.models.effective_field import gradient_energy

FIELD_STREAM = 5
# Random images over which the gradient is averaged, with coefficients of the size that icons end with.
_NUM_IMAGES = 8
_COEFFICIENT_SD = 0.6
# Distances from the field's centre, in radii, between which the contrast falls.
_FALL_BEGINS, _FALL_ENDS = 1.2, 2.6


@dataclass(frozen=True, slots=True)
class Field:
    """The disc of an image that decides a position's activation: its centre and its radius, in pixels."""

    row: float
    col: float
    radius: int


_FIELD_CACHE: WeakKeyDictionary[FeatureMap, dict[tuple[int, torch.device], Field]] = WeakKeyDictionary()


def effective_field(feature_map: FeatureMap, size_px: int, device: torch.device) -> Field:
    """The disc around the gradient's centre that holds half of the squared gradient of the map's centre.

    It is averaged over smooth random images, each counted by its shares. A feature map whose gradient is zero
    has the whole image as its field.

    Args:    feature_map: images (B, 3, S, S) in [0, 1] -> (B, channel, height, width).
    Source:  `models.effective_field`.
    """
    try:
        known = _FIELD_CACHE.setdefault(feature_map, {})
    except TypeError:
        # A callable that cannot be a weak dictionary key is analysed again on each call.
        known = {}
    if (size_px, device) not in known:
        known[size_px, device] = _find_field(feature_map, size_px, device)
    return known[size_px, device]


def contrast_map(field: Field, strength: float, settings: InversionSettings) -> Tensor:
    """Factor of each canvas pixel's deviation from grey: 1 in the field, 1 - strength far from it.

    Returns: (C, C) float32.
    """
    edge = (settings.canvas_px - settings.size_px) / 2
    distance = _distances(field.row + edge, field.col + edge, settings.canvas_px) / field.radius
    fall = ((distance - _FALL_BEGINS) / (_FALL_ENDS - _FALL_BEGINS)).clamp(0, 1)
    return (1 - strength * (0.5 - 0.5 * torch.cos(torch.pi * fall))).float()


def _find_field(feature_map: FeatureMap, size_px: int, device: torch.device) -> Field:
    images = _smooth_images(size_px).to(device)
    with torch.no_grad():
        num_channels = feature_map(images[:1]).shape[1]
    uniform = random_streams.uniform(range(_NUM_IMAGES), FIELD_STREAM, num_channels)
    signs = (uniform.float().round() * 2 - 1).to(device)
    # One image at a time: the field must not need more memory than the icons.
    energies = [
        gradient_energy(lambda given: centre_activation(feature_map(given)), images[i, None], signs[i, None])
        for i in range(_NUM_IMAGES)
    ]
    energy = torch.cat(energies).cpu().double()
    energy = (energy / energy.sum((1, 2), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)).mean(0)
    whole = energy.sum()
    if not whole > 0:
        return Field(size_px / 2, size_px / 2, size_px)
    places = torch.arange(size_px, dtype=torch.float64) + 0.5
    # Rounded to half a pixel: kernels of other devices round the gradient differently.
    row, col = (float((energy.sum(axis) @ places / whole * 2).round() / 2) for axis in (1, 0))
    distance, order = _distances(row, col, size_px).flatten().sort(stable=True)
    held = energy.flatten()[order].cumsum(0)
    radius = distance[(held < whole / 2).sum()]
    return Field(row, col, max(1, int(radius.round())))


def _distances(row: float, col: float, side: int) -> Tensor:
    """(side, side) float64: distance of each pixel's centre from a point, in pixels."""
    places = torch.arange(side, dtype=torch.float64) + 0.5
    return torch.hypot(places[:, None] - row, places[None, :] - col)


def _smooth_images(size_px: int) -> Tensor:
    """(image, 3, S, S) float32 in (0, 1)."""
    settings = InversionSettings(size_px=size_px, canvas_scale=1.0, start_sd=_COEFFICIENT_SD)
    planes = fourier.planes(
        fourier.start_coefficients(range(_NUM_IMAGES), settings), fourier.spectrum_weights(settings)
    )
    return fourier.colours(planes, fourier.colour_mix(settings.contrast), settings.contrast)
