"""Operations reduced to their effect on NaN, for measuring receptive fields.

B = batch, L = output tokens, T = attended tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def spread_only() -> TorchFunctionMode:
    """Reduce 2-D convolutions, linear maps and attention to their effect on NaN; other values become 0.5.

    This removes the expensive part of a network and lets NaN spread as it should. Fast convolutions
    (Winograd, FFT) would smear it, and fused attention on CPUs would lose some of it.
    """
    return _SpreadOnly()


class _SpreadOnly(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return REDUCED.get(func, func)(*args, **(kwargs or {}))


def _nan_where(is_nan: Tensor, like: Tensor) -> Tensor:
    return torch.where(is_nan, torch.nan, 0.5).to(like.dtype)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """NaN where the kernel covers NaN in the channels of its group."""
    is_nan = input.isnan().unflatten(1, (groups, -1)).any(dim=2).to(weight.dtype)
    ones = torch.ones((groups, 1, *weight.shape[2:]), dtype=weight.dtype, device=weight.device)
    covers_nan = F.conv2d(is_nan, ones, None, stride, padding, dilation, groups) > 0.5
    return _nan_where(covers_nan, weight).repeat_interleave(weight.shape[0] // groups, dim=1)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """NaN where any feature is NaN."""
    is_nan = input.isnan().any(dim=-1, keepdim=True)
    return _nan_where(is_nan, weight).repeat_interleave(weight.shape[0], dim=-1)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """(..., L, feature) from (..., T, feature): NaN where the query or any attended token is NaN.

    Masks change nothing: a weight of zero times NaN is NaN.
    """
    attends_nan = key.isnan().flatten(-2).any(dim=-1) | value.isnan().flatten(-2).any(dim=-1)
    is_nan = query.isnan().any(dim=-1) | attends_nan[..., None]
    return _nan_where(is_nan, value)[..., None].repeat_interleave(value.shape[-1], dim=-1)


def _multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any
) -> tuple[Tensor, Tensor | None]:
    """Replacement for ``nn.MultiheadAttention``: (L, B, feature) from (T, B, feature), and no weights."""
    batch_first = (tensor.transpose(0, 1) for tensor in (query, key, value))
    output = _attention(*batch_first).transpose(0, 1)
    # The output has as many features as the query, whatever the values have.
    return output[..., :1].repeat_interleave(query.shape[-1], dim=-1), None


REDUCED: dict[Any, Callable[..., Any]] = {
    torch.conv2d: _convolution,
    F.linear: _linear,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
}
