"""The effective receptive field of an activation: how strongly each pixel changes it.

B = batch, C = channels.
The theoretical field (`receptive_field`) holds every pixel that can change the activation at all. Most of
the influence comes from a much smaller, bell-shaped part of it.
Source: Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks" (NeurIPS 2016).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee


def gradient_energy(read: Callable[[Tensor], Tensor], images: Tensor, signs: Tensor) -> Tensor:
    """Squared gradient of a random projection of the activation, summed over the pixel's colours.

    Its mean over random signs is the squared norm of the activation's Jacobian, pixel by pixel.

    Args:    read: images -> activations (B, C). images: (B, 3, side, side) in [0, 1]. signs: (B, C), each
             -1 or 1.
    Returns: (B, side, side) float32.
    """
    given = images.detach().requires_grad_()
    with ieee(), torch.enable_grad():
        (gradient,) = torch.autograd.grad((read(given) * signs).sum(), given)
    return gradient.square().sum(dim=1)
