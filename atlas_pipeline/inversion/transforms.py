"""What keeps an icon legible: the network never sees it twice from the same place.

Every icon is turned, zoomed and shifted by its own draw at every step, the whole batch in one
`grid_sample`. B = icon, T = step, C = canvas side, S = icon side.
Source: "Feature Visualization" (Distill 2017), transformation robustness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from atlas_pipeline.inversion import draws
from atlas_pipeline.inversion.schedule import strengths
from atlas_pipeline.inversion.settings import InversionSettings

TRANSFORM_STREAM = 2
GROUND_STREAM = 4

# Of the icon's side. A map of one position would otherwise shift the icon out of the window.
_LARGEST_SHIFT = 0.12


def draw_transforms(seeds: Sequence[int], settings: InversionSettings, map_side: int) -> Tensor:
    """Affine maps from the icon's coordinates to the canvas', as `grid_sample` wants them.

    Rotation and shift are uniform on both sides of none, the logarithm of the zoom is uniform. The shift
    follows the feature map: near the input a position sees a few pixels, and the shift that a deep layer
    does not notice would blur all that it sees.

    Args:    map_side: positions along the feature map's side.
    Returns: (B, T, 2, 3) float32 on the CPU.
    """
    unit = draws.uniform(seeds, TRANSFORM_STREAM, 4 * settings.steps).view(len(seeds), settings.steps, 4)
    strength = strengths(settings)
    angle = (2 * unit[..., 0] - 1) * math.radians(settings.rotation_degrees) * strength
    low, high = math.log(settings.zoom_min), math.log(settings.zoom_max)
    zoom = torch.exp((low + (high - low) * unit[..., 1]) * strength)
    # In grid_sample's units the canvas is 2 wide: a shift by the icon's side is 2 S / C.
    share = settings.size_px / settings.canvas_px
    furthest = min(settings.shift / map_side, _LARGEST_SHIFT)
    shift = (2 * unit[..., 2:] - 1) * furthest * 2 * share * strength[:, None]
    scale = share / zoom
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    rows = torch.stack([cos, -sin, shift[..., 0], sin, cos, shift[..., 1]], dim=-1)
    return rows.view(len(seeds), settings.steps, 2, 3).float()


def draw_grounds(seeds: Sequence[int], settings: InversionSettings) -> Tensor:
    """Where behind a transparent icon its ground is looked at: any turn, half to twice the size, any shift.

    Returns: (B, T, 2, 3) float32 on the CPU, as `draw_transforms`.
    """
    unit = draws.uniform(seeds, GROUND_STREAM, 4 * settings.steps).view(len(seeds), settings.steps, 4)
    angle = 2 * math.pi * unit[..., 0]
    scale = settings.size_px / settings.canvas_px * 2.0 ** (2 * unit[..., 1] - 1)
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    shift = 2 * unit[..., 2:] - 1
    rows = torch.stack([cos, -sin, shift[..., 0], sin, cos, shift[..., 1]], dim=-1)
    return rows.view(len(seeds), settings.steps, 2, 3).float()


def look(canvas: Tensor, maps: Tensor, size_px: int, low: int = 0, high: int | None = None) -> Tensor:
    """The canvas as each transform shows it, rows and columns [low, high) of it; beyond its border mirrored.

    Args:    canvas: (B, P, C, C). maps: (B, 2, 3), one step of `draw_transforms`.
    Returns: (B, P, side, side); the side is S where nothing is cut off.
    """
    places = F.affine_grid(maps, [len(canvas), 1, size_px, size_px], align_corners=False)
    places = places[:, low:high, low:high]
    return F.grid_sample(canvas, places, mode="bilinear", padding_mode="reflection", align_corners=False)
