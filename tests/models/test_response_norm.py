"""Local response normalisation, faster on a CPU, gives the same numbers and gradients."""

import pytest
import torch
from small_networks import small_network
from torch import nn

from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.response_norm import ResponseNorm


@pytest.mark.parametrize(
    ("size", "alpha", "beta", "k"),
    [(5, 1e-4, 0.75, 1.0), (4, 2.0, 0.75, 0.5), (1, 0.3, 0.5, 1.0), (3, 5.0, 1.3, 2.0), (2, 1.0, 0.75, 1.0)],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_equal_those_of_torch(size, alpha, beta, k, memory_format):
    norm = nn.LocalResponseNorm(size, alpha, beta, k)
    maps = 3 * torch.randn(2, 7, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.randn(maps.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for module in (norm, ResponseNorm(norm)):
        x = maps.to(memory_format=memory_format).requires_grad_()
        y = module(x)
        (gradient,) = torch.autograd.grad((y * weights).sum(), x)
        found.append((y, gradient))
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_cut_network_uses_it():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LocalResponseNorm(5, 1.0),
        nn.Conv2d(8, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    part = cut(small_network(module), "3")
    assert any(isinstance(m, ResponseNorm) for m in part.modules())
    images = torch.rand(2, 3, 16, 16)
    assert part(images).shape == (2, 4, 14, 14)
