"""Every rule gives the tangent that forward-mode AD gives, in float64."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from atlas_pipeline.models import attention_tangents, layer_tangents
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.products import plain_attention
from atlas_pipeline.models.relaxed_pool import max_pool_gradient
from atlas_pipeline.models.tangent_rules import EACH, FIRST, Operation

# Importing them registers their rules.
assert attention_tangents
assert layer_tangents

MAP, TOKENS, HEADS = (2, 8, 6, 6), (2, 5, 8), (2, 3, 5, 4)


def norm(module):
    """A norm with statistics and weights that are not 0 and 1."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return module


MODULES = [
    (nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"), MAP),
    (nn.Conv2d(8, 8, 3, stride=2, groups=4), MAP),
    (nn.Conv1d(5, 4, 3), TOKENS),
    (nn.Linear(8, 3), TOKENS),
    (norm(nn.BatchNorm2d(8)), MAP),
    (norm(nn.LayerNorm(8)), TOKENS),
    (norm(nn.GroupNorm(2, 8)), MAP),
    (nn.LocalResponseNorm(5, alpha=0.3, beta=0.6, k=1.5), MAP),
    (nn.ReLU(), MAP),
    (nn.ReLU6(), MAP),
    (nn.LeakyReLU(0.2), MAP),
    (nn.GELU(), MAP),
    (nn.GELU(approximate="tanh"), MAP),
    (nn.SiLU(), MAP),
    (nn.Hardswish(), MAP),
    (nn.Hardsigmoid(), MAP),
    (nn.Sigmoid(), MAP),
    (nn.Tanh(), MAP),
    (nn.Softmax(dim=1), MAP),
    (nn.MaxPool2d(3, 2, 1, ceil_mode=True), MAP),
    (nn.AvgPool2d(2), MAP),
    (nn.AdaptiveAvgPool2d(2), MAP),
    (nn.Flatten(), MAP),
    (nn.Dropout(), MAP),
]  # fmt: skip

FUNCTIONS = [
    (F.conv2d, MAP, (torch.rand(4, 8, 3, 3).double(), torch.rand(4).double(), 2), {}),
    (F.linear, TOKENS, (torch.rand(3, 8).double(),), {"bias": torch.rand(3).double()}),
    (F.batch_norm, MAP, (torch.rand(8).double(), torch.rand(8).double() + 1, torch.rand(8).double()), {}),
    (F.layer_norm, TOKENS, ([8], torch.rand(8).double()), {"eps": 1e-3}),
    (F.relu, MAP, (), {"inplace": False}),
    (torch.relu, MAP, (), {}),
    (F.relu6, MAP, (), {}),
    (F.leaky_relu, MAP, (0.3,), {}),
    (F.gelu, MAP, (), {"approximate": "tanh"}),
    (torch.sigmoid, MAP, (), {}),
    (torch.softmax, MAP, (-1,), {}),
    (torch.max_pool2d, MAP, (2,), {"stride": 1}),
    (F.adaptive_avg_pool2d, MAP, (1,), {}),
    (F.pad, MAP, ([1, 2, 0, 1],), {"value": 3.0}),
    (torch.flatten, MAP, (1,), {}),
    (torch.mean, MAP, ([2, 3],), {}),
    ("view", MAP, (2, -1), {}),
    ("mean", MAP, (), {"dim": (1, 2)}),
    ("relu", MAP, (), {}),
    (operator.getitem, MAP, ((slice(None), 0),), {}),
    (torch.chunk, MAP, (2, 1), {}),
]


def pushed(function, args, kwargs, tangent, kind="exact"):
    called = getattr(torch.Tensor, function) if isinstance(function, str) else function
    output = called(*args, **kwargs)
    operation = Operation(function, args, kwargs, output, kind)
    return FIRST[operation.key](operation)(tangent)


def only(tangents, given):
    """The tangents that are given, and None for the others."""
    return [t if is_given else None for t, is_given in zip(tangents, given, strict=True)]


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def by_forward_mode(function, inputs, tangents):
    with plain_attention():
        return torch.func.jvp(function, tuple(inputs), tuple(tangents))[1]


@pytest.mark.parametrize(("module", "shape"), MODULES, ids=lambda value: type(value).__name__)
def test_a_module_has_the_tangent_of_forward_mode(module, shape):
    module = module.double().eval().requires_grad_(False)
    x, tangent = drawn(shape, 0), drawn(shape, 1)
    expected = by_forward_mode(module, [x], [tangent])
    torch.testing.assert_close(pushed(module, (x,), {}, tangent), expected)


@pytest.mark.parametrize(("function", "shape", "rest", "kwargs"), FUNCTIONS)
def test_a_function_has_the_tangent_of_forward_mode(function, shape, rest, kwargs):
    x, tangent = drawn(shape, 0), drawn(shape, 1)
    called = getattr(torch.Tensor, function) if isinstance(function, str) else function
    expected = by_forward_mode(lambda x: called(x, *rest, **kwargs), [x], [tangent])
    torch.testing.assert_close(pushed(function, (x, *rest), kwargs, tangent), expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_smooth_pool_has_the_relaxed_tangent(channels_last):
    pool, x, tangent = nn.MaxPool2d(3, 2, 1), drawn(MAP, 0), drawn(MAP, 1)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with max_pool_gradient("smooth"):
        expected = by_forward_mode(pool, [x], [tangent])
    torch.testing.assert_close(pushed(pool, (x,), {}, tangent, "smooth"), expected)


@pytest.mark.parametrize("function", [operator.add, operator.sub, operator.mul, operator.truediv, torch.add])
@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True)])
def test_arithmetic_takes_tangents_of_either_side_and_broadcasts(function, given):
    inputs, tangents = (drawn(MAP, 0), drawn((1, 8, 1, 1), 1)), (drawn(MAP, 2), drawn((1, 8, 1, 1), 3))
    kept = [t if is_given else torch.zeros_like(t) for t, is_given in zip(tangents, given, strict=True)]
    expected = by_forward_mode(function, inputs, kept)
    operation = Operation(function, inputs, {}, function(*inputs), "exact")
    found = EACH[function](operation)(*only(tangents, given))
    torch.testing.assert_close(found, expected)


def test_a_number_takes_part_in_arithmetic():
    x, tangent = drawn(MAP, 0), drawn(MAP, 1)
    for function, args, tangents, expected in (
        (operator.mul, (2.0, x), (None, tangent), 2 * tangent),
        (operator.truediv, (x, 4), (tangent, None), tangent / 4),
        (operator.sub, (1, x), (None, tangent), -tangent),
    ):
        operation = Operation(function, args, {}, function(*args), "exact")
        torch.testing.assert_close(EACH[function](operation)(*tangents), expected)


def test_products_of_matrices_and_joined_parts():
    x, z, tx, tz = (drawn(HEADS, seed) for seed in range(4))
    operation = Operation(operator.matmul, (x, z.mT), {}, x @ z.mT, "exact")
    expected = by_forward_mode(operator.matmul, [x, z.mT], [tx, tz.mT])
    torch.testing.assert_close(EACH[operator.matmul](operation)(tx, tz.mT), expected)
    operation = Operation(torch.cat, ([x, z], 1), {}, torch.cat([x, z], 1), "exact")
    torch.testing.assert_close(EACH[torch.cat](operation)([None, tz], None), torch.cat([0 * tx, tz], 1))


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("given", [(True, True, True), (False, True, False), (False, False, True)])
def test_attention_has_the_tangent_of_forward_mode(scale, given):
    inputs, tangents = [drawn(HEADS, seed) for seed in range(3)], [drawn(HEADS, seed) for seed in range(3, 6)]
    kept = [t if is_given else torch.zeros_like(t) for t, is_given in zip(tangents, given, strict=True)]
    attention = F.scaled_dot_product_attention
    expected = by_forward_mode(lambda *values: attention(*values, scale=scale), inputs, kept)
    operation = Operation(attention, tuple(inputs), {"scale": scale}, None, "exact")
    found = EACH[attention](operation)(*only(tangents, given))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("is_self", [False, True])
def test_multihead_attention_has_the_tangent_of_forward_mode(batch_first, is_self):
    with seeded(0):
        module = nn.MultiheadAttention(8, 2, batch_first=batch_first).double().eval()
    module.requires_grad_(False)
    inputs, tangents = (
        [drawn(TOKENS, seed) for seed in range(3)],
        [drawn(TOKENS, seed) for seed in range(3, 6)],
    )
    if is_self:
        inputs, tangents = [inputs[0]] * 3, [tangents[0]] * 3
    expected = by_forward_mode(lambda q, k, v: module(q, k, v, need_weights=False)[0], inputs, tangents)
    operation = Operation(module, tuple(inputs), {"need_weights": False}, None, "exact")
    torch.testing.assert_close(EACH[nn.MultiheadAttention](operation)(*tangents)[0], expected)


def test_settings_without_a_rule_are_left_to_forward_mode():
    x = drawn(HEADS, 0)
    masked = Operation(F.scaled_dot_product_attention, (x, x, x), {"is_causal": True}, None, "exact")
    assert EACH[F.scaled_dot_product_attention](masked) is None
    by_batch = nn.BatchNorm2d(3, track_running_stats=False).double().eval()
    assert FIRST[nn.BatchNorm2d](Operation(by_batch, (x,), {}, None, "exact")) is None
