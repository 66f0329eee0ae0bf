"""Random transforms that keep icons legible: the network sees a different view at every step.

Each icon is rotated, zoomed and shifted by its own random draw at every step; one `grid_sample` serves the
whole batch.
B = icon, T = step, C = canvas side, S = icon side.
Source: "Feature Visualization" (Distill 2017), transformation robustness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from atlas_pipeline.inversion import random_streams
from atlas_pipeline.inversion.schedule import strengths
from atlas_pipeline.inversion.settings import InversionSettings

TRANSFORM_STREAM = 2
BACKGROUND_STREAM = 4

# Share of the icon's side. Without this limit a map of one position would shift the icon out of the window.
_LARGEST_SHIFT = 0.12


def draw_transforms(seeds: Sequence[int], settings: InversionSettings, map_side: int) -> Tensor:
    """Affine maps from icon coordinates to canvas coordinates, in the convention of `grid_sample`.

    Rotation and shift are uniform and symmetric around 0; the logarithm of the zoom is uniform. The shift
    scales with the feature map's stride: near the input a position sees only a few pixels, and a shift that a
    deep layer would not notice would blur all of them.

    Args:    map_side: positions along the feature map's side.
    Returns: (B, T, 2, 3) float32 on the CPU.
    """
    unit = random_streams.uniform(seeds, TRANSFORM_STREAM, 4 * settings.steps).view(
        len(seeds), settings.steps, 4
    )
    strength = strengths(settings)
    angle = (2 * unit[..., 0] - 1) * math.radians(settings.rotation_degrees) * strength
    low, high = math.log(settings.zoom_min), math.log(settings.zoom_max)
    zoom = torch.exp((low + (high - low) * unit[..., 1]) * strength)
    # grid_sample's coordinates span 2 over the canvas: a shift by the icon's side is 2 S / C.
    share = settings.size_px / settings.canvas_px
    furthest = min(settings.shift / map_side, _LARGEST_SHIFT)
    shift = (2 * unit[..., 2:] - 1) * furthest * 2 * share * strength[:, None]
    scale = share / zoom
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = torch.stack([cos, -sin, shift[..., 0], sin, cos, shift[..., 1]], dim=-1)
    return rows.view(len(seeds), settings.steps, 2, 3).float()


def draw_background_transforms(seeds: Sequence[int], settings: InversionSettings) -> Tensor:
    """Affine maps that sample the background of transparent icons.

    The rotation and the shift take any value; the scale is half to twice the size.

    Returns: (B, T, 2, 3) float32 on the CPU, as `draw_transforms`.
    """
    unit = random_streams.uniform(seeds, BACKGROUND_STREAM, 4 * settings.steps).view(
        len(seeds), settings.steps, 4
    )
    angle = 2 * math.pi * unit[..., 0]
    scale = settings.size_px / settings.canvas_px * 2.0 ** (2 * unit[..., 1] - 1)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    shift = 2 * unit[..., 2:] - 1
    rows = torch.stack([cos, -sin, shift[..., 0], sin, cos, shift[..., 1]], dim=-1)
    return rows.view(len(seeds), settings.steps, 2, 3).float()


def icon_points(size_px: int) -> Tensor:
    """Centres of the icon's pixels, which the transforms map to the canvas.

    Returns: (S, S, 3) float32: x, y and 1, in the convention of `grid_sample`.
    """
    unmoved = F.affine_grid(torch.eye(2, 3)[None], [1, 1, size_px, size_px], align_corners=False)[0]
    return torch.cat([unmoved, torch.ones(size_px, size_px, 1)], dim=-1)


def apply_transforms(
    canvas: Tensor, maps: Tensor, points: Tensor, low: int = 0, high: int | None = None
) -> Tensor:
    """Sample the canvas through each transform, rows and columns [low, high); reflect beyond the border.

    Args:    canvas: (B, P, C, C). maps: (B, 2, 3), one step of `draw_transforms`.
             points: (S, S, 3), `icon_points` on the canvas's device.
    Returns: (B, P, side, side); the side is S if low and high are not given.
    """
    num, size_px = len(canvas), len(points)
    moved = points.view(1, -1, 3).expand(num, -1, -1).bmm(maps.transpose(1, 2))
    moved = moved.view(num, size_px, size_px, 2)[:, low:high, low:high]
    return F.grid_sample(canvas, moved, mode="bilinear", padding_mode="reflection", align_corners=False)
