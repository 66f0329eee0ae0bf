"""Expanded weights equal products of the layers' own weights, along all paths between two layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from atlas_pipeline.models.expanded_weights import NoWeightsError, expanded_weights, layers_beside
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess

PREPROCESS = Preprocess(resize=16, crop=16, mean=(0.5,) * 3, std=(0.25,) * 3)


class Block(nn.Module):
    """A 1x1 branch, a 3x3 one behind a bottleneck with batch norms, and one behind a max-pool."""

    def __init__(self, width=4):
        super().__init__()
        self.one = nn.Conv2d(width, 3, 1)
        self.narrow, self.norm = nn.Conv2d(width, 2, 1, bias=False), nn.BatchNorm2d(2)
        self.wide = nn.Conv2d(2, 3, 3, padding=1)
        self.pooled = nn.Conv2d(width, 2, 1)
        for values in (self.norm.running_mean, self.norm.weight.data, self.norm.bias.data):
            values.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        wide = F.relu(self.wide(F.relu(self.norm(self.narrow(x)))))
        pooled = F.relu(self.pooled(F.max_pool2d(x, 3, 1, 1)))
        return torch.cat([F.relu(self.one(x)), wide, pooled], 1)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.relu = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.inner(x)
        y += x
        return self.relu(y)


class Whole(nn.Module):
    def __init__(self, between=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block, self.pool = Block(), nn.MaxPool2d(2)
        self.residual, self.between = Residual(), between or nn.Identity()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.residual(self.between(self.pool(self.block(self.stem(x))))).mean((2, 3)))


def network(**how):
    torch.manual_seed(0)
    return Network(name="whole", module=Whole(**how), preprocess=PREPROCESS, weights_note="")


def kernels(net, earlier, later):
    return torch.cat([part for _, part in expanded_weights(net, earlier, later)])


def test_weights_are_multiplied_out_through_bottlenecks_batch_norms_and_concatenations():
    net = network()
    found, block = kernels(net, "stem", "block"), net.module.block
    assert found.shape == (8, 4, 3, 3)
    scale = block.norm.weight / (block.norm.running_var + block.norm.eps).sqrt()
    wide = torch.einsum("unrs,nk->ukrs", block.wide.weight, scale[:, None] * block.narrow.weight[:, :, 0, 0])
    one = F.pad(block.one.weight, (1, 1, 1, 1))
    pooled = block.pooled.weight.expand(-1, -1, 3, 3) / 9
    torch.testing.assert_close(found, torch.cat([one, wide, pooled]))


def test_sums_pools_and_strides_are_followed():
    net = network()
    found, inner = kernels(net, "block", "residual"), net.module.residual.inner.weight.clone()
    # The sum adds the unit itself, and the pool spreads each weight over its four positions.
    inner[torch.arange(8), torch.arange(8), 1, 1] += 1
    wanted = inner.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    torch.testing.assert_close(found, wanted)


class Functional(nn.Module):
    """A convolution and a batch norm called as functions, and a fixed factor."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 8, 3, 3)), nn.Parameter(torch.randn(8))
        self.register_buffer("mean", torch.randn(8))
        self.register_buffer("variance", torch.rand(8) + 0.5)

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, padding=1)
        return F.batch_norm(x, self.mean, self.variance, self.bias, None, False) * 3.0


def test_functions_are_followed_like_modules():
    net = network(between=Functional())
    part = net.module.between
    scale = 3 * part.bias / (part.variance + 1e-5).sqrt()
    wanted = part.weight * scale.view(-1, 1, 1, 1)
    # Behind a pool of two, whose average spreads each weight over four positions.
    wanted = wanted.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    torch.testing.assert_close(kernels(net, "block", "between"), wanted)


def test_an_inverted_sign_of_one_weight_is_seen_where_it_belongs():
    net = network()
    before = kernels(net, "stem", "block")
    net.module.block.one.weight[1, 2] *= -1
    changed = (kernels(net, "stem", "block") - before).abs() > 1e-6
    assert changed.nonzero().tolist() == [[1, 2, 1, 1]]


def test_the_weights_predict_the_change_of_a_unit_where_all_relus_are_open():
    """With large biases every ReLU passes everything on, and the network is linear without its pools."""
    net = network()
    block = net.module.block
    for layer in (block.one, block.wide, block.norm):
        layer.bias.data.fill_(50.0)
    at = torch.rand(1, 4, 9, 9) + 1
    moved = at.clone()
    moved[0, 3, 4, 5] += 0.5
    with torch.no_grad():
        change = (block(moved) - block(at))[0, :6, 4, 4]
    torch.testing.assert_close(change, 0.5 * kernels(net, "stem", "block")[:6, 3, 1, 2], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("how", "ends", "why"),
    [
        ({"between": nn.GroupNorm(2, 8)}, ("block", "residual"), "GroupNorm"),
        ({}, ("residual", "block"), "does not follow"),
        ({}, ("block", "block"), "does not follow"),
    ],
)
def test_where_weights_cannot_be_found_the_reason_is_given(how, ends, why):
    with pytest.raises(NoWeightsError, match=why):
        kernels(network(**how), *ends)


def test_the_layers_beside_a_layer_are_ends_of_blocks():
    net = network()
    before, after = layers_beside(net, "block")
    assert after == "residual"
    assert before is not None
    assert before.startswith("stem")
    assert layers_beside(net, "residual")[1] is None
