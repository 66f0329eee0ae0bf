"""Rules for tangents through layers: convolutions, norms, activation functions and max-pools.

B = batch, C = channels. Importing this module registers them in ``tangent_rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas_pipeline.models.relaxed_pool import SOFTENING, MaxPoolGradient
from atlas_pipeline.models.tangent_rules import FIRST, Operation, Push, named, of_first, of_module

aten = torch.ops.aten


def _convolution(x: Tensor, y: Tensor, weight: Tensor, bias: Any = None, *rest: Any, **kw: Any) -> Push:
    functions = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
    return lambda tangent: functions[weight.dim()](tangent, weight, None, *rest, **kw)


def _linear(x: Tensor, y: Tensor, weight: Tensor, bias: Any = None) -> Push:
    return lambda tangent: F.linear(tangent, weight)


def _batch_norm(
    x: Tensor,
    y: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Push | None:
    if training or running_var is None:
        return None
    scale = batch_norm_scale(running_var, weight, eps).view(1, -1, *[1] * (x.dim() - 2))
    return lambda tangent: tangent * scale


def batch_norm_scale(running_var: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Factors (C,) of a batch norm with fixed statistics."""
    scale = (running_var + eps).rsqrt()
    return scale if weight is None else scale * weight


def _layer_norm(
    x: Tensor, y: Tensor, shape: Any, weight: Tensor | None = None, bias: Any = None, eps: float = 1e-5
) -> Push:
    x = x.contiguous()
    _, mean, rstd = torch.native_layer_norm(x, shape, None, None, eps)

    def push(tangent: Tensor) -> Tensor:
        # Without its weight the norm has a symmetric Jacobian, so its backward pass pushes tangents too.
        found = aten.native_layer_norm_backward(
            tangent.contiguous(), x, shape, mean, rstd, None, None, [True, False, False]
        )[0]
        return found if weight is None else found * weight

    return push


def _group_norm(
    x: Tensor,
    y: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Push:
    x = x.contiguous()
    batch, channels = x.shape[:2]
    size = x[0, 0].numel()
    _, mean, rstd = torch.native_group_norm(x, None, None, batch, channels, size, num_groups, eps)

    def push(tangent: Tensor) -> Tensor:
        found = aten.native_group_norm_backward(
            tangent.contiguous(), x, mean, rstd, None, batch, channels, size, num_groups, [True, False, False]
        )[0]
        return found if weight is None else found * weight.view(1, -1, *[1] * (x.dim() - 2))

    return push


def _local_response_norm(
    x: Tensor, y: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Push | None:
    if x.dim() != 4:
        return None

    def near(values: Tensor) -> Tensor:
        """Mean over nearby channels, as in ``F.local_response_norm``."""
        padded = F.pad(values.unsqueeze(1), (0, 0, 0, 0, size // 2, (size - 1) // 2))
        return F.avg_pool3d(padded, (size, 1, 1), stride=1).squeeze(1)

    base = k + alpha * near(x * x)
    factor, slope = base.pow(-beta), 2 * alpha * beta * x * base.pow(-beta - 1)
    return lambda tangent: tangent * factor - slope * near(x * tangent)


of_first([F.conv1d, F.conv2d, F.conv3d], _convolution)
of_first([F.linear], _linear)
of_first([F.batch_norm], _batch_norm)
of_first([F.layer_norm], _layer_norm)
of_first([F.group_norm], _group_norm)
of_first([F.local_response_norm], _local_response_norm)
# _conv_forward also covers the padding modes of the module.
for _convolution_module in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
    of_module(_convolution_module, lambda m, x, y: lambda tangent: m._conv_forward(tangent, m.weight, None))
of_module(nn.Linear, lambda m, x, y: _linear(x, y, m.weight))
for _norm in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
    of_module(
        _norm,
        lambda m, x, y: _batch_norm(
            x, y, m.running_mean, m.running_var, m.weight, training=m.training, eps=m.eps
        ),
    )
of_module(nn.LayerNorm, lambda m, x, y: _layer_norm(x, y, m.normalized_shape, m.weight, eps=m.eps))
of_module(nn.GroupNorm, lambda m, x, y: _group_norm(x, y, m.num_groups, m.weight, eps=m.eps))
of_module(nn.LocalResponseNorm, lambda m, x, y: _local_response_norm(x, y, m.size, m.alpha, m.beta, m.k))


def _relu(x: Tensor, y: Tensor, *_: Any, **__: Any) -> Push:
    return lambda tangent: aten.threshold_backward(tangent, y, 0)


def _elementwise(derivative: Callable[..., Tensor]) -> Callable[..., Push]:
    """A rule from the derivative, a function of the input, the output and the other arguments."""

    def linearise(x: Tensor, y: Tensor, *rest: Any, inplace: bool = False, **kw: Any) -> Push:
        slope = derivative(x, y, *rest, **kw)
        return lambda tangent: tangent * slope

    return linearise


def _one(x: Tensor) -> Tensor:
    return torch.ones_like(x)


_gelu = _elementwise(lambda x, y, approximate="none": aten.gelu_backward(_one(x), x, approximate=approximate))
_silu = _elementwise(lambda x, y, *_: aten.silu_backward(_one(x), x))
_hardswish = _elementwise(lambda x, y, *_: aten.hardswish_backward(_one(x), x))
_hardsigmoid = _elementwise(lambda x, y, *_: aten.hardsigmoid_backward(_one(x), x))
_relu6 = _elementwise(lambda x, y, *_: aten.hardtanh_backward(_one(x), x, 0.0, 6.0))
_leaky_relu = _elementwise(
    lambda x, y, negative_slope=0.01, *_: aten.leaky_relu_backward(_one(x), x, negative_slope, False)
)
_sigmoid = _elementwise(lambda x, y: aten.sigmoid_backward(_one(x), y))
_tanh = _elementwise(lambda x, y: aten.tanh_backward(_one(x), y))


def _softmax(
    x: Tensor, y: Tensor, dim: int | None = None, *_: Any, dtype: Any = None, **__: Any
) -> Push | None:
    if dim is None or dtype not in (None, x.dtype):
        return None
    # The Jacobian is symmetric.
    return lambda tangent: aten._softmax_backward_data(tangent, y, dim, x.dtype)


of_first(named("relu relu_", torch, F), _relu)
of_first([F.gelu], _gelu)
of_first([F.silu], _silu)
of_first([F.hardswish], _hardswish)
of_first([F.hardsigmoid], _hardsigmoid)
of_first([F.relu6], _relu6)
of_first([F.leaky_relu], _leaky_relu)
of_first(named("sigmoid sigmoid_", torch, F), _sigmoid)
of_first(named("tanh tanh_", torch, F), _tanh)
of_first(named("softmax", torch, F), _softmax)
of_module(nn.ReLU, lambda m, x, y: _relu(x, y))
of_module(nn.GELU, lambda m, x, y: _gelu(x, y, approximate=m.approximate))
of_module(nn.SiLU, lambda m, x, y: _silu(x, y))
of_module(nn.Hardswish, lambda m, x, y: _hardswish(x, y))
of_module(nn.Hardsigmoid, lambda m, x, y: _hardsigmoid(x, y))
of_module(nn.ReLU6, lambda m, x, y: _relu6(x, y))
of_module(nn.LeakyReLU, lambda m, x, y: _leaky_relu(x, y, m.negative_slope))
of_module(nn.Sigmoid, lambda m, x, y: _sigmoid(x, y))
of_module(nn.Tanh, lambda m, x, y: _tanh(x, y))
of_module(nn.Softmax, lambda m, x, y: _softmax(x, y, m.dim))


def _max_pool(op: Operation) -> Push | None:
    settings = op.kwargs
    if isinstance(op.function, nn.MaxPool2d):
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
        settings = {name: getattr(op.function, name) for name in names}
    return _pool_tangent(op.maxpool_gradient, *op.args, **settings)


def _pool_tangent(
    kind: MaxPoolGradient,
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Push | None:
    if return_indices:
        return None
    if kind == "exact":
        _, winners = F.max_pool2d(
            x, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True
        )
        flat = winners.flatten(-2)
        return lambda tangent: tangent.flatten(-2).gather(-1, flat).view_as(winners)
    if dilation not in (1, (1, 1), [1, 1]):
        return None

    def average(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, kernel_size, stride or None, padding, ceil_mode, count_include_pad=False)

    # The derivative of avg(x^2) / (SOFTENING + avg|x|), as in ``relaxed_pool``.
    size = SOFTENING + average(x.abs())
    for_squares, for_sizes = size.reciprocal(), average(x * x) / (size * size)
    doubled, sign = 2 * x, x.sign()
    return lambda tangent: torch.addcmul(
        average(doubled * tangent) * for_squares, average(sign * tangent), for_sizes, value=-1
    )


FIRST[nn.MaxPool2d] = _max_pool
for _key in named("max_pool2d", torch, F):
    FIRST[_key] = _max_pool
