"""Placement: an icon enters the network so that its middle is what the map's centre position looks at.

The centre position of a map looks at the middle of the image only if the map's side is odd and the padding
of every layer is even. On a 4 x 4 map its field lies at 0.62 of the side. An icon is therefore moved by a
few pixels before the network sees it. S = image side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from atlas_pipeline.inversion.vignette import effective_field
from atlas_pipeline.inversion.visible_window import FeatureMap, parts_of

# The field of a position that looks at everything has a centre of little meaning.
_LARGEST_SHARE = 0.25


class Placed(nn.Module):
    """A feature map whose centre position looks at the middle of its images, (B, 3, S, S).

    shift_px: rows and columns by which images are moved before the network sees them.
    """

    def __init__(self, feature_map: FeatureMap, shift_px: int) -> None:
        super().__init__()
        self.feature_map, self.shift_px = feature_map, shift_px

    def forward(self, images: Tensor) -> Tensor:
        return self.feature_map(moved(images, self.shift_px))

    def parts(self, size_px: int) -> list[Callable[[Tensor], Tensor]]:
        """Functions to apply in turn for the same result, see `CutNetwork.parts`."""
        first, *others = parts_of(self.feature_map, size_px)
        return [lambda images: first(moved(images, self.shift_px)), *others]


# Two networks: the caches of windows and fields need the same object again.
@lru_cache(maxsize=2)
def placed(feature_map: FeatureMap, size_px: int, device: torch.device | str) -> FeatureMap:
    """The feature map for images whose middle is what the centre position looks at.

    Args:    feature_map: images (B, 3, S, S) in [0, 1] -> (B, channel, height, width), on `device`.
    Returns: a `Placed`, or the feature map itself if it looks at the middle already.
    Source:  the effective field's centre, see `vignette.effective_field`.
    Example:

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 8, stride=8).requires_grad_(False)  # 32 px -> 4 x 4 positions
    >>> placed(layer, 32, "cpu").shift_px
    4
    """
    shift_px = _shift_px(feature_map, size_px, torch.device(device))
    return Placed(feature_map, shift_px) if shift_px else feature_map


def shift_px_of(feature_map: FeatureMap) -> int:
    """Rows and columns by which `placed` moves the images of a feature map; 0 if it moves none."""
    return feature_map.shift_px if isinstance(feature_map, Placed) else 0


def moved(images: Tensor, shift_px: int) -> Tensor:
    """Images (..., rows, columns) moved down and to the right, continued by reflection.

    A negative shift moves them up and to the left.

    >>> import torch
    >>> moved(torch.arange(4.0).expand(1, 4), 2)
    Traceback (most recent call last):
    ...
    ValueError: images of 1 x 4 px cannot be moved by 2 px
    >>> moved(torch.arange(4.0).expand(2, 4), 1)[0]
    tensor([0., 0., 1., 2.])
    >>> moved(torch.arange(4.0).expand(2, 4), -1)[0]
    tensor([1., 2., 3., 3.])
    """
    if abs(shift_px) > min(images.shape[-2:]):
        rows, cols = images.shape[-2:]
        raise ValueError(f"images of {rows} x {cols} px cannot be moved by {shift_px} px")
    for axis in (-2, -1):
        side = images.shape[axis]
        if shift_px > 0:
            edge = images.narrow(axis, 0, shift_px).flip(axis)
            images = torch.cat([edge, images.narrow(axis, 0, side - shift_px)], axis)
        elif shift_px < 0:
            edge = images.narrow(axis, side + shift_px, -shift_px).flip(axis)
            images = torch.cat([images.narrow(axis, -shift_px, side + shift_px), edge], axis)
    return images


def _shift_px(feature_map: FeatureMap, size_px: int, device: torch.device) -> int:
    field = effective_field(feature_map, size_px, device)
    # The mean of both axes: networks treat rows and columns alike, and one number is estimated twice.
    offset = (field.row + field.col - size_px) / 2
    most = int(_LARGEST_SHARE * size_px)
    return max(-most, min(most, round(offset)))
