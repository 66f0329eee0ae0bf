"""Layers whose attributions cost more than they have to say so, with their price in forward passes."""

import pytest
import torch
from small_networks import Around, small_network
from torch import nn

from atlas_pipeline.models.attribution_price import expensive_because, forwards_of_position_and_image
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.layer_samples import AttributionRequest

GRADIENT, ABLATION = (AttributionRequest(method=method) for method in ("gradient", "ablation"))
INTEGRATED = AttributionRequest(method="integrated", num_steps=3)


class Three(nn.Module):
    """Three equal convolutions, so that each is a third of a forward pass; `second` is the layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.after(self.second(self.first(x))).mean(dim=(2, 3)))

    def after(self, x):
        return self.third(x.relu())


class Untraced(Three):
    def after(self, x):
        return super().after(x if float(x.sum()) < 1e9 else x * 2)


class Square(torch.autograd.Function):
    """It has no forward-mode derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        assert float(gradient.abs().sum()) >= 0
        return 2 * ctx.saved_tensors[0] * gradient


class OnlyBackward(Three):
    """A value bypasses the layer, so the network's own code has to run."""

    def forward(self, x):
        first = self.first(x)
        values = Square.apply(self.after(self.second(first))) + first
        return self.head(values.mean(dim=(2, 3)))


def made(module_class):
    with seeded(0):
        return small_network(module_class())


@pytest.mark.parametrize("how", [GRADIENT, INTEGRATED, ABLATION])
def test_a_plain_network_has_no_price_to_name(how):
    assert expensive_because(made(Three), "second", how) is None


def test_code_that_cannot_be_traced_is_why_gradients_cost_more():
    network = made(Untraced)
    assert expensive_because(network, "second", GRADIENT) == "the network's code cannot be traced"
    assert expensive_because(network, "second", ABLATION) is None


@pytest.mark.parametrize("how", [INTEGRATED, ABLATION])
def test_layers_at_which_no_pass_can_begin(how):
    assert expensive_because(made(Around), "layer", how) == "no forward pass can begin at the layer"


@pytest.mark.parametrize(
    ("module_class", "how", "of_position", "of_image"),
    [
        # The values of a forward pass, and a tangent through one of three convolutions for each position.
        (Three, GRADIENT, 1 / 3, 1 + 4 / 3),
        # Up to the layer for its map; then, from the layer, a convolution of values, of tangents, and of
        # values with the tangent of the weights: torch computes that too, though it is zero.
        (Three, INTEGRATED, 3 * 3 / 3, 2 / 3 + 4 * 3 * 3 / 3),
        (Three, ABLATION, 1 / 3, 2 / 3 + 1 / 3 + 4 / 3),
        # Up to the layer twice: for the map, and for the record that further passes replay.
        (Untraced, GRADIENT, 3 / 3, 2 * 2 / 3 + 4 * 3 / 3),
        (Untraced, ABLATION, 1 / 3, 2 * 2 / 3 + 1 / 3 + 4 / 3),
        # A forward pass and the derivative of each of four classes, for all positions, and of one in trial.
        (OnlyBackward, GRADIENT, 0, 2 / 3 + 1 + 5 / 3),
    ],
)
def test_the_price_counts_the_multiplications(module_class, how, of_position, of_image):
    found = forwards_of_position_and_image(made(module_class), "second", how, 4)
    assert found == pytest.approx((of_position, of_image), rel=0.01, abs=0.01)
