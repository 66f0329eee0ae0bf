"""bfloat16: only the network runs in it, and its weights are converted once."""

import dataclasses

import pytest
import torch
from torch import nn

from atlas_pipeline.inversion import Direction, InversionSettings, Objective, invert, objectives, optimise
from atlas_pipeline.inversion.bfloat16_weights import with_bfloat16_weights
from atlas_pipeline.models.strided import StridedConv2d

BFLOAT16 = InversionSettings(size_px=16, steps=6, arithmetic="bfloat16")


class Scaled(nn.Module):
    """A network with every kind of layer that matters here."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = StridedConv2d(nn.Conv2d(3, 8, 5, 2, 2))
            self.norm = nn.BatchNorm2d(8)
            self.linear = nn.Linear(8, 6)
            self.scale = nn.Parameter(torch.rand(6) + 0.5)
        self.eval().requires_grad_(False)

    def forward(self, images):
        mixed = self.linear(self.norm(self.first(images)).permute(0, 2, 3, 1)).float()
        return (mixed * self.scale).permute(0, 3, 1, 2).relu()


def test_the_copy_gives_the_values_of_autocast_to_the_bit():
    network = Scaled()
    converted = with_bfloat16_weights(network)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(converted(images), network(images))
    assert converted.linear.weight.dtype == torch.bfloat16
    assert converted.first.conv.weight.dtype == torch.bfloat16
    # The rest is shared, and the network is as it was.
    assert converted.scale is network.scale
    assert converted.norm.weight is network.norm.weight
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}


def test_a_subclass_keeps_its_weights():
    class Standardised(nn.Conv2d):
        def forward(self, images):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return nn.functional.conv2d(images, weight, self.bias)

    assert with_bfloat16_weights(Standardised(3, 4, 3)).weight.dtype == torch.float32


def test_what_cannot_be_copied_is_used_as_it_is():
    class Stubborn(nn.Module):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    for network in (Stubborn(), lambda images: images):
        assert with_bfloat16_weights(network) is network


def test_icons_equal_those_of_weights_converted_at_every_step(monkeypatch):
    directions = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)) + 0.1
    icons = invert(Scaled(), directions, [1, 2, 3], BFLOAT16)
    monkeypatch.setattr(objectives, "with_bfloat16_weights", lambda network: network)
    converted_each_time = invert(Scaled(), directions, [1, 2, 3], BFLOAT16)
    assert torch.equal(icons.images, converted_each_time.images)
    in_float32 = invert(Scaled(), directions, [1, 2, 3], dataclasses.replace(BFLOAT16, arithmetic="float32"))
    assert not torch.equal(icons.images, in_float32.images)


def test_the_window_s_parts_have_converted_weights():
    objective = Direction(Scaled(), torch.eye(6))
    objective.window(16)
    dtypes = []
    converted = objective.in_bfloat16()
    converted._network.linear.register_forward_pre_hook(
        lambda module, inputs: dtypes.append(module.weight.dtype)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        converted.outputs(torch.rand(1, 3, 16, 16))
    assert dtypes == [torch.bfloat16]


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_only_the_network_runs_in_bfloat16(name):
    seen = {}

    class Watching(Objective):
        num_icons = 1

        def outputs(self, images):
            seen["outputs"] = torch.is_autocast_enabled("cpu")
            return images

        def scores(self, outputs, which):
            seen["scores"] = torch.is_autocast_enabled("cpu"), outputs.dtype
            return outputs.mean((1, 2, 3))

    optimise(Watching(), [1], dataclasses.replace(BFLOAT16, arithmetic=name))
    assert seen == {"outputs": name == "bfloat16", "scores": (False, torch.float32)}
