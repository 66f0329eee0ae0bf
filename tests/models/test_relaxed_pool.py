"""The relaxed max-pool has the exact value and a shared gradient in forward and reverse mode."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.relaxed_pool import relaxed_max_pool


def naive_relaxed(x, kernel, stride, padding):
    """avg(x^2) / (0.01 + avg|x|) for each window, without the padding."""
    size = (x.shape[-1] + 2 * padding - kernel) // stride + 1
    rows = []
    for i in range(size):
        for j in range(size):
            top, left = i * stride - padding, j * stride - padding
            window = x[:, :, max(top, 0) : top + kernel, max(left, 0) : left + kernel].flatten(2)
            rows.append((window**2).mean(dim=2) / (0.01 + window.abs().mean(dim=2)))
    return torch.stack(rows, dim=2).unflatten(2, (size, size))


@pytest.fixture
def x():
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_value_is_the_maximum_and_gradient_the_relaxed_one(x, kernel, stride, padding):
    weights = torch.randn_like(F.max_pool2d(x, kernel, stride, padding))
    expected = torch.autograd.grad(
        (naive_relaxed(x.requires_grad_(), kernel, stride, padding) * weights).sum(), x
    )[0]
    with relaxed_max_pool():
        pooled = nn.MaxPool2d(kernel, stride, padding)(x)
    (gradient,) = torch.autograd.grad((pooled * weights).sum(), x)
    assert torch.equal(pooled, F.max_pool2d(x, kernel, stride, padding))
    assert torch.allclose(gradient, expected)


POOLS = {
    "module": nn.MaxPool2d(3, 2, ceil_mode=True),
    "functional": lambda x: F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True),
    "torch": lambda x: torch.max_pool2d(x, 2),
    "indices": lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
    "indices of a module": lambda x: nn.MaxPool2d(3, 1, 1, return_indices=True)(x)[0],
}


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS.keys())
def test_forward_mode_is_backward_mode_however_it_is_called(x, pool):
    direction = torch.randn_like(x)
    with relaxed_max_pool():
        y = pool(x.requires_grad_())
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(pool(forward_ad.make_dual(x.detach(), direction))).tangent
    assert tangent is not None
    assert torch.equal(y, pool(x))
    weights = torch.randn_like(y)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x, retain_graph=True)
    (exact,) = torch.autograd.grad((pool(x) * weights).sum(), x)
    assert torch.allclose((gradient * direction).sum(), (tangent * weights).sum())
    assert not torch.allclose(gradient, exact)


def test_nothing_is_left_behind(x):
    pool = nn.MaxPool2d(2)
    with pytest.raises(ZeroDivisionError), relaxed_max_pool():
        raise ZeroDivisionError
    pool(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}


def test_a_dilated_pool_is_refused(x):
    with relaxed_max_pool(), pytest.raises(ModelError, match="maxpool_gradient: exact"):
        F.max_pool2d(x, 2, dilation=2)
