"""Images turned about a point and moved, so that the point comes to lie where a unit looks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def turned_images(
    image: Tensor,
    degrees: Tensor,
    source: tuple[float, float],
    target: tuple[float, float],
    side_px: int,
) -> Tensor:
    """An image turned counterclockwise, as seen, about one of its points, which is moved to another place.

    The image is continued by reflection, so its corners are not black. Pixels are interpolated linearly.

    Args:    image: (3, rows, columns) uint8. degrees: (turn,). source, target: row and column of the point
             in the image and in the result, pixels; pixel i reaches from i to i + 1. side_px: of the result.
    Returns: (turn, 3, side, side) float32 in [0, 1].

    >>> image = torch.zeros(3, 9, 9, dtype=torch.uint8)
    >>> image[:, 4, 7] = 255  # to the right of the middle
    >>> up = turned_images(image, torch.tensor([90.0]), (4.5, 4.5), (4.5, 4.5), 9)
    >>> (up[0, 0] > 0.5).nonzero().tolist()  # above it
    [[1, 4]]
    """
    rows, cols = image.shape[-2:]
    device = image.device
    pixels = torch.arange(side_px, dtype=torch.float64, device=device) + 0.5
    y, x = pixels[:, None] - target[0], pixels[None, :] - target[1]
    angle = torch.deg2rad(degrees.to(device, torch.float64))[:, None, None]
    # Rows grow downwards: a pixel of the result comes from where a clockwise turn takes it.
    from_x = x * angle.cos() - y * angle.sin() + source[1]
    from_y = x * angle.sin() + y * angle.cos() + source[0]
    grid = torch.stack([2 * from_x / cols - 1, 2 * from_y / rows - 1], dim=-1).float()
    images = (image.float() / 255).expand(len(degrees), -1, -1, -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
