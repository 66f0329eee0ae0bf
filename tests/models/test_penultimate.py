"""The penultimate features of a network are the input of the module that gives its logits."""

import pytest
import torch
from small_networks import small_network
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.penultimate import logits_module, penultimate_features

BODY = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU()]
POOL = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


class Head(nn.Module):
    """Tokens, their first as the class token, and a head of its own name."""

    def __init__(self):
        super().__init__()
        self.conv, self.inner, self.last = nn.Conv2d(3, 6, 3, stride=2), nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x):
        tokens = self.inner(self.conv(x).flatten(2).transpose(1, 2))
        return self.last(tokens[:, 0]).softmax(1)


class Functional(nn.Module):
    """Logits from a parameter, outside any module."""

    def __init__(self):
        super().__init__()
        self.conv, self.matrix = nn.Conv2d(3, 6, 3, stride=2), nn.Parameter(torch.ones(6, 5))

    def forward(self, x):
        return self.conv(x).mean((2, 3)) @ self.matrix


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(*BODY, *POOL, nn.Linear(6, 5)), "4"),
        (nn.Sequential(*BODY, *POOL, nn.Linear(6, 5), nn.Linear(5, 5)), "5"),
        (nn.Sequential(*BODY, *POOL, nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Softmax(1)), "4"),
        (nn.Sequential(*BODY, nn.Conv2d(6, 5, 1), nn.ReLU(), *POOL), "2"),
        (Head(), "last"),
    ],
)
def test_the_module_that_gives_the_logits_is_found(module, expected):
    assert logits_module(small_network(module)) == expected


def test_features_are_that_modules_input(tiny_images):
    network = small_network(nn.Sequential(*BODY, *POOL, nn.Linear(6, 5)))
    expected = network.module[:4](network.normalise(tiny_images))
    assert torch.equal(penultimate_features(network, tiny_images), expected)


def test_features_of_a_convolution_are_averaged_over_its_positions(tiny_images):
    network = small_network(nn.Sequential(*BODY, nn.Conv2d(6, 5, 1), *POOL))
    expected = network.module[:2](network.normalise(tiny_images)).mean((2, 3))
    assert torch.allclose(penultimate_features(network, tiny_images), expected, atol=1e-6)


def test_logits_made_outside_any_module_are_refused():
    with pytest.raises(ModelError, match=r"no linear layer with 5 outputs.*nn\.Linear"):
        logits_module(small_network(Functional()))


def test_no_hook_is_left(tiny_images):
    network = small_network(nn.Sequential(*BODY, *POOL, nn.Linear(6, 5)))
    penultimate_features(network, tiny_images)
    assert not any(module._forward_hooks for module in network.module.modules())
