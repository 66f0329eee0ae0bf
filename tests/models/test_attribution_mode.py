"""Networks that lose forward-mode derivatives get correct attributions another way, or are refused."""

import pytest
import torch
from backward_passes import assert_close, by_backward
from small_networks import num_hooks, small_network
from torch import nn
from torch.utils.checkpoint import checkpoint

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.capture import feature_maps

POSITIONS = torch.tensor([[3, 4], [5, 6], [2, 9]])


class Net(nn.Module):
    """`act` is in a residual branch before a max-pool; ``tail`` computes the logits from `conv1`'s output."""

    def __init__(self, tail=None):
        super().__init__()
        self.conv1, self.conv2, self.act = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
        self.pool, self.aside, self.head = nn.MaxPool2d(2), nn.Conv2d(6, 6, 1), nn.Linear(6, 5)
        self.offset = nn.Conv2d(6, 18, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(6, 6, 3, 3))
        self.tail = tail

    def logits(self, x):
        return self.head(self.pool(x).mean(dim=(2, 3)))

    def block(self, x):
        return x + self.act(self.conv2(x))

    def forward(self, x):
        x = self.conv1(x)
        self.aside(x)
        return self.tail(self, x) if self.tail else self.logits(self.block(x))


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        # float() fails under vmap, as older code does, so gradients cannot be batched here.
        assert float(gradient.abs().sum()) >= 0
        return 2 * ctx.saved_tensors[0] * gradient


def deformed(net, x):
    from torchvision.ops import deform_conv2d

    x = net.block(x)
    return net.logits(x + deform_conv2d(x, net.offset(x), net.weight, padding=1))


def own_function(net, x):
    return net.logits(NoForwardMode.apply(net.block(x)))


def lost_halves(net, x):
    """Forward mode loses the derivative of one branch and keeps that of the other."""
    x = net.block(x)
    return net.logits(x + NoTangent.apply(x))


class NoTangent(torch.autograd.Function):
    """As in some extension operators, the backward pass is right and forward mode silently gives zero."""

    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient

    @staticmethod
    def jvp(ctx, tangent):
        return torch.zeros_like(tangent)


@torch.no_grad()
def without_gradients(net, x):
    return net.logits(net.block(x))


def reentrant(net, x):
    return checkpoint(lambda x: net.logits(net.block(x)), x, use_reentrant=True)


def not_reentrant(net, x):
    return checkpoint(lambda x: net.logits(net.block(x)), x, use_reentrant=False)


def reentrant_after(net, x):
    return checkpoint(net.logits, net.block(x), use_reentrant=True)


def in_place(net, x):
    return net.logits(net.block(x).mul_(2).relu_())


@torch.inference_mode()
def inferred(net, x):
    return net.logits(net.block(x))


def detached(net, x):
    return net.logits(net.block(x).detach())


def bfloat16(net, x):
    with torch.autocast("cpu", torch.bfloat16):
        return net.logits(net.block(x))


def made(tail=None):
    with seeded(1):
        return small_network(Net(tail))


@pytest.mark.parametrize("kind", ["exact", "smooth"])
@pytest.mark.parametrize(
    ("tail", "mode", "batched"),
    [
        (deformed, "backward", True),
        (own_function, "backward", False),
        (lost_halves, "backward", True),
        (reentrant, "forward", False),
        (not_reentrant, "forward", False),
        (reentrant_after, "forward", False),
        (in_place, "forward", False),
        (without_gradients, "forward", False),
    ],
)
def test_right_attributions_by_the_mode_that_holds(tiny_images, tail, mode, batched, kind):
    network = made(tail)
    found = attribution_mode(network, None, "act", kind)
    assert (found.mode, found.batched) == (mode, batched)
    assert (found.remark is None) == (mode == "forward")
    # The oracle runs without these tails: checkpoints and no_grad would break its backward passes.
    plain = {reentrant, not_reentrant, reentrant_after, without_gradients}
    oracle = made() if tail in plain else network
    for share in (1.0, 0.25):
        expected = by_backward(oracle, tiny_images, "act", POSITIONS, kind, range(5), share)
        actual = attribution(network, tiny_images, "act", POSITIONS, kind, path=[share])
        assert_close(actual, expected)
        some = attribution(network, tiny_images, "act", POSITIONS, kind, classes=[4, 1], path=[share])
        assert_close(some, expected[:, [4, 1]])
    assert num_hooks(network.module) == 0
    assert not actual.requires_grad


def test_the_feature_map_at_hand_changes_nothing(tiny_images):
    network = made(own_function)
    h = feature_maps(network, tiny_images, ["act"])["act"]
    expected = by_backward(network, tiny_images, "act", POSITIONS, "exact", range(5))
    assert_close(attribution(network, tiny_images, "act", POSITIONS, output=h), expected)


def test_a_suffix_that_is_right_stands_where_the_network_is_not(tiny_images):
    """torch.fx drops inference mode, so all derivatives exist from `conv1` on."""
    network = made(inferred)
    h = feature_maps(network, tiny_images, ["conv1"])["conv1"]
    expected = by_backward(made(), tiny_images, "conv1", POSITIONS, "smooth", range(5))
    assert_close(attribution(network, tiny_images, "conv1", POSITIONS, "smooth", h), expected)
    with pytest.raises(ModelError, match="layer 'conv1': the logits depend on it, but no derivative"):
        attribution(network, tiny_images, "conv1", POSITIONS, "smooth")


@pytest.mark.parametrize("tail", [inferred, detached])
def test_derivatives_that_nothing_gives_are_refused(tiny_images, tail):
    network = made(tail)
    with pytest.raises(ModelError, match=r"'act': the logits depend on it, .*attribution_method: ablation"):
        attribution(network, tiny_images, "act", POSITIONS)
    assert float(ablation(network, tiny_images, "act", POSITIONS).abs().max()) > 0


def test_what_the_logits_do_not_depend_on_is_zero_and_said(tiny_images):
    network = made()
    assert attribution_mode(network, None, "aside", "exact").remark == (
        "every attribution is zero, for the logits do not depend on this layer"
    )
    assert attribution(network, tiny_images, "aside", POSITIONS).tolist() == [[0.0] * 5] * 3


def test_attributions_in_16_bits_come_near(tiny_images):
    network = made(bfloat16)
    assert network.logits(tiny_images).dtype == torch.float32
    h = feature_maps(network, tiny_images, ["act"])["act"]
    assert h.dtype == torch.float32
    expected = by_backward(made(), tiny_images, "act", POSITIONS, "exact", range(5))
    actual = attribution(network, tiny_images, "act", POSITIONS, output=h)
    assert float((actual - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_compiled_networks_run_uncompiled(tiny_images, is_wrapped):
    from atlas_pipeline.models.plain_module import uncompile, unwrapped

    module = made().module
    # The compiled module is never run, so the test needs no compiler.
    compiled = torch.compile(module) if is_wrapped else module
    if not is_wrapped:
        module.compile()
    network = small_network(uncompile(unwrapped(compiled, "it")))
    assert all(part._compiled_call_impl is None for part in network.module.modules())
    assert next(iter(network.runs)) == "conv1"
    expected = by_backward(made(), tiny_images, "act", POSITIONS, "smooth", range(5))
    assert_close(attribution(network, tiny_images, "act", POSITIONS, "smooth"), expected)


def test_a_mode_is_tried_once(tiny_images, monkeypatch):
    network = made(own_function)
    attribution(network, tiny_images, "act", POSITIONS)
    monkeypatch.setattr("atlas_pipeline.models.attribution_mode._Trial.mode", None)
    attribution(network, tiny_images, "act", POSITIONS)
