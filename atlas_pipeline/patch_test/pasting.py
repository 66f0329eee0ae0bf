"""Paste patches onto images; B = batch, S = side of the image in pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atlas_pipeline.patch_test.placement import corner_windows


def paste_at_corners(images: Tensor, patch: np.ndarray) -> Tensor:
    """Paste a patch into each corner of the images, one corner at a time.

    Args:    images: (B, 3, S, S) uint8. patch: (side, side, 3) uint8, side at most S.
    Returns: (corner, B, 3, S, S) uint8, corners as ``numerics.patches.CORNERS``.
    """
    side = len(patch)
    pixels = torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1))).to(images.device)
    windows = corner_windows(images.shape[-1], side)
    pasted = images.repeat(len(windows), 1, 1, 1, 1)
    for corner, (top, left) in enumerate(windows):
        pasted[corner, :, :, top : top + side, left : left + side] = pixels
    return pasted
