"""Operations reduced to NaN propagation: NaN where the real operation gives NaN, a constant elsewhere."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlas_pipeline.models.spread import spread_only


def spoilt(*shape, at):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x[at] = torch.nan
    return x


ATTENTION = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(False).eval()
CONV = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2).requires_grad_(False)
CASES = {
    "convolution": (CONV, spoilt(2, 4, 9, 9, at=(0, 3, 4, 1))),
    "linear": (nn.Linear(5, 3).requires_grad_(False), spoilt(2, 6, 5, at=(1, 4, 2))),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), spoilt(2, 3, 5, 4, at=(1, 2, 0, 1))),
    "one query": (
        lambda x: F.scaled_dot_product_attention(x, torch.ones(2, 3, 7, 4), torch.ones(2, 3, 7, 6)),
        spoilt(2, 3, 5, 4, at=(1, 2, 3, 1)),
    ),
    "multi-head": (lambda x: ATTENTION(x, x, x, need_weights=False)[0], spoilt(3, 5, 8, at=(1, 2, 0))),
}


@pytest.mark.parametrize("name", CASES)
def test_nan_goes_where_it_should_and_nothing_else_does(name):
    operation, x = CASES[name]
    # The fused CPU kernels sometimes lose NaN because their maximum ignores it.
    with sdpa_kernel(SDPBackend.MATH):
        expected = operation(x)
    with spread_only():
        actual = operation(x)
    assert actual.shape == expected.shape
    assert torch.equal(actual.isnan(), expected.isnan())
    assert 0 < int(actual.isnan().sum()) < actual.numel()
    assert actual[~actual.isnan()].unique().tolist() == [0.5]
