"""The network's top class for images; B = batch, S = side of the image in pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory


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
