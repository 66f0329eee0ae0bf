"""TensorFloat-32 in software: convolutions and matrix products of float32 inputs rounded to 10 bits.

A GPU multiplies in TF32 and adds in float32. Convolutions do so by default, matrix products where a switch
of torch.backends asks for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CONVOLUTIONS = {"convolution", "convolution_overrideable", "_convolution", "cudnn_convolution"}
_CONVOLUTIONS |= {"convolution_backward", "mkldnn_convolution"}
_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "addbmm", "linear"}
_PRODUCTS |= {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"}
# Terms that are added, not multiplied: position of the argument.
_ADDED = {"addmm": {0}, "baddbmm": {0}, "addbmm": {0}, "linear": {2}}
_ADDED |= {name: {2} for name in _CONVOLUTIONS - {"convolution_backward"}}


def rounded(values: Tensor) -> Tensor:
    """float32 values rounded to TF32's 10 bits of mantissa: to the nearest, ties away from zero.

    Source: the conversion `cvt.rna.tf32.f32` of the PTX instruction set.
    """
    bits = values.detach().clone(memory_format=torch.preserve_format).view(torch.int32)
    return bits.add_(0x1000).bitwise_and_(~0x1FFF).view(torch.float32)


def conv_uses_tf32() -> bool:
    """Whether torch's switches let cuDNN's convolutions use TF32."""
    cudnn = torch.backends.cudnn
    return cudnn.conv.fp32_precision == "tf32" if hasattr(cudnn, "conv") else cudnn.allow_tf32


def matmul_uses_tf32() -> bool:
    """Whether torch's switches let cuBLAS's matrix products use TF32."""
    matmul = torch.backends.cuda.matmul
    return matmul.fp32_precision == "tf32" if hasattr(matmul, "fp32_precision") else matmul.allow_tf32


def uses_tf32(operation: str) -> bool:
    """Whether an ATen operation on float32 multiplies in TF32 now."""
    if operation in _CONVOLUTIONS:
        return conv_uses_tf32()
    return operation in _PRODUCTS and matmul_uses_tf32()


def with_rounded_factors(operation: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of an operation as the tensor cores take them."""
    added = _ADDED.get(operation, set())
    return tuple(
        rounded(value)
        if isinstance(value, Tensor) and value.dtype == torch.float32 and number not in added
        else value
        for number, value in enumerate(args)
    )
