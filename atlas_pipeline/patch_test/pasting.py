"""Patches pasted onto images, and what the network then answers: B = batch, S = side of the image, pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atlas_pipeline.models.network import Network
from atlas_pipeline.numerics.patches import corner_windows


def at_corners(images: Tensor, patch: np.ndarray) -> Tensor:
    """The images with a patch in each corner.

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


def answers(network: Network, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The class that the network gives each image, and its probability (softmax over the logits).

    Args:    images: (B, 3, S, S) uint8. batch_size: images a forward; halved where the GPU's memory ends.
    Returns: (B,) int64 and (B,) float32, on the CPU.
    """
    found = [_answers(network, batch) for batch in images.split(batch_size)]
    answer, probability = zip(*found, strict=True)
    return torch.cat(answer), torch.cat(probability)


def _answers(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    try:
        with torch.no_grad():
            best = network.logits(images.to(network.device)).float().softmax(dim=1).max(dim=1)
        return best.indices.cpu(), best.values.cpu()
    except torch.cuda.OutOfMemoryError:
        if len(images) == 1:
            raise
    torch.cuda.empty_cache()
    return answers(network, images, -(-len(images) // 2))
