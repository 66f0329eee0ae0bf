"""The first convolution of a network, with a gradient that takes half the time on a CPU.

CPU kernels for the gradient with respect to the image are slow for strided convolutions over few channels (a
fifth of GoogLeNet's total time). A plain convolution that outputs all pixels of a stride's block as channels
gives the same numbers. C = input channels, O = output channels, s = stride, A = blocks along the kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

# With more channels, the library's own kernels are as fast.
_MAX_CHANNELS = 4


class StridedConv2d(nn.Module):
    """A frozen convolution, equal to ``conv`` except for the summation order of its gradient."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("block_weight", _block_weight(conv.weight.detach(), conv.stride[0]), False)

    def forward(self, images: Tensor) -> Tensor:
        conv = self.conv
        return _Strided.apply(
            images, conv.weight, conv.bias, self.block_weight, conv.stride[0], conv.padding[0]
        )


class _Strided(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        block_weight: Tensor,
        stride: int,
        padding: int,
    ) -> Tensor:
        ctx.save_for_backward(block_weight)
        ctx.geometry = stride, padding, images.shape[-2:]
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (block_weight,) = ctx.saved_tensors
        stride, padding, (height, width) = ctx.geometry
        blocks = F.conv2d(gradient, block_weight, padding=block_weight.shape[-1] - 1)
        padded = F.pixel_shuffle(blocks, stride)
        # No output depends on pixels after the last stride.
        missing_rows = max(0, padding + height - padded.shape[2])
        missing_cols = max(0, padding + width - padded.shape[3])
        padded = F.pad(padded, [0, missing_cols, 0, missing_rows])
        image_gradient = padded[:, :, padding : padding + height, padding : padding + width]
        return image_gradient, None, None, None, None, None


def _block_weight(weight: Tensor, stride: int) -> Tensor:
    """(O, C, side, side) -> (C s s, O, A, A): the weights from outputs to the pixels of a block."""
    num_out, num_in, side, _ = weight.shape
    num_blocks = -(-side // stride)
    num_padding = num_blocks * stride - side
    blocks = F.pad(weight, [0, num_padding, 0, num_padding]).view(
        num_out, num_in, num_blocks, stride, num_blocks, stride
    )
    blocks = blocks.permute(1, 3, 5, 0, 2, 4).reshape(-1, num_out, num_blocks, num_blocks)
    return blocks.flip(2, 3).contiguous(memory_format=torch.channels_last)


def replace_strided_convolutions(body: fx.GraphModule) -> None:
    """Replace strided convolutions over few channels by ``StridedConv2d``, in place."""
    for name, module in list(body.named_modules()):
        if type(module) is nn.Conv2d and _has_slow_gradient(module):
            body.set_submodule(name, StridedConv2d(module))


def _has_slow_gradient(conv: nn.Conv2d) -> bool:
    return (
        conv.in_channels <= _MAX_CHANNELS
        and conv.stride[0] == conv.stride[1] > 1
        and conv.kernel_size[0] == conv.kernel_size[1] >= conv.stride[0]
        and isinstance(conv.padding, tuple)
        and conv.padding[0] == conv.padding[1]
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )
