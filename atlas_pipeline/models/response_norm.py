"""Local response normalisation with a gradient written out, for feature inversion on a CPU.

``y[c] = x[c] / (k + alpha / n * sum of x[c']^2 over n neighbouring channels c')^beta`` (Krizhevsky et al.,
"ImageNet Classification with Deep Convolutional Neural Networks", 2012). torch takes the sum by a pool over
channels, and automatic differentiation takes two powers. C = channel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn


class ResponseNorm(nn.Module):
    """Equal to ``norm`` up to float32 rounding, in value and gradient; it is differentiable once."""

    def __init__(self, norm: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, maps: Tensor) -> Tensor:
        norm = self.norm
        return _Normalised.apply(maps, norm.size, norm.alpha / norm.size, norm.beta, norm.k)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int, scale: float, beta: float, k: float) -> Tensor:
        # The window reaches further to lower channels, if its size is even.
        base = _neighbour_sum(maps.square(), size // 2, (size - 1) // 2).mul_(scale).add_(k)
        factor = _inverse_power(base, beta)
        ctx.save_for_backward(maps, base, factor)
        ctx.numbers = size, scale, beta
        return maps * factor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        maps, base, factor = ctx.saved_tensors
        size, scale, beta = ctx.numbers
        scaled = gradient * factor
        through_base = (scaled * maps).div_(base)
        # Channel c is a neighbour of the channels whose window holds it: the window mirrored.
        through_base = _neighbour_sum(through_base, (size - 1) // 2, size // 2)
        return scaled.sub_(through_base.mul_(maps).mul_(2 * scale * beta)), None, None, None, None


def _neighbour_sum(values: Tensor, lower: int, higher: int) -> Tensor:
    """Sum over channels c - lower to c + higher of a map (B, C, height, width); zero beyond the ends."""
    num = values.shape[1]
    padded = F.pad(values, [0, 0, 0, 0, lower, higher])
    total = padded[:, :num].clone(memory_format=torch.preserve_format)
    for first in range(1, lower + higher + 1):
        total += padded[:, first : first + num]
    return total


def _inverse_power(base: Tensor, beta: float) -> Tensor:
    """``base ** -beta``; roots are several times as fast as a power."""
    if beta == 0.75:
        root = base.rsqrt()
        return root.sqrt().mul_(root)
    return base.pow(-beta)


def replace_response_norms(body: fx.GraphModule) -> None:
    """Replace local response normalisations by ``ResponseNorm``, in place."""
    for name, module in list(body.named_modules()):
        if type(module) is nn.LocalResponseNorm:
            body.set_submodule(name, ResponseNorm(module))
