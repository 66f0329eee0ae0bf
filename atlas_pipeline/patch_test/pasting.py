"""Paste patches onto images and read the network's answers; B = batch, S = side of the image in pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
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


def answers(network: Network, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """The network's top class for each image, and its probability (softmax over the logits).

    Args:    images: (B, 3, S, S) uint8. batch_size: images per forward pass; halved if GPU memory runs out.
    Returns: (B,) int64 and (B,) float32, on the CPU.
    """
    batches = [_answers(network, batch) for batch in images.split(batch_size)]
    answer, probability = zip(*batches, strict=True)
    return torch.cat(answer), torch.cat(probability)


def _answers(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    try:
        with torch.no_grad():
            best = network.logits(images.to(network.device)).float().softmax(dim=1).max(dim=1)
        return best.indices.cpu(), best.values.cpu()
    except RuntimeError as error:
        if len(images) == 1 or not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    return answers(network, images, -(-len(images) // 2))
