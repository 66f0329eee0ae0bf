"""Capture returns the right feature maps, unaltered, and leaves no hook behind."""

import pytest
import torch
from small_networks import num_hooks, small_network
from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.capture import capture, feature_maps


def test_in_place_operations_do_not_alter_what_was_captured(in_place, tiny_images):
    module, x = in_place.module, in_place.normalise(tiny_images)
    conv1 = module.conv1(x)
    norm1 = module.norm1(conv1)
    act1 = norm1.relu()
    conv2, skip = module.conv2(act1), module.skip(act1)
    expected = {"norm1": norm1, "conv1": conv1, "conv2": conv2, "skip": skip, "act": (conv2 + skip).relu()}
    maps = feature_maps(in_place, tiny_images, list(expected))
    assert list(maps) == list(expected)
    for layer, value in expected.items():
        assert torch.allclose(maps[layer], value, atol=1e-6), layer


def test_a_layer_that_runs_twice_is_its_last_run(in_place, tiny_images):
    assert in_place.runs["act"].times == 2
    assert feature_maps(in_place, tiny_images, ["act"])["act"].shape[-1] == 16


def test_nested_layers_in_one_pass_are_what_they_are_alone(googlenet, images):
    layers = [
        "inception4a",
        "inception4a.branch2.1.bn",
        "inception3b.branch4.0",
        "conv1.conv",
        "inception4a.branch2",
    ]
    together = feature_maps(googlenet, images, layers)
    for layer in layers:
        alone = feature_maps(googlenet, images, [layer])[layer]
        assert torch.equal(together[layer], alone), layer


def test_the_forward_stops_at_the_last_layer_needed(resnet18, images):
    ran = []
    handles = [
        resnet18.module.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name in ("layer1", "layer2", "layer3", "fc")
    ]
    try:
        feature_maps(resnet18, images, ["layer2", "layer1"])
    finally:
        for handle in handles:
            handle.remove()
    assert ran == ["layer1", "layer2"]


def test_gradients_reach_the_images(in_place, tiny_images):
    tiny_images.requires_grad_()
    feature_maps(in_place, tiny_images, ["norm1", "act"])["norm1"].sum().backward()
    assert tiny_images.grad is not None
    assert float(tiny_images.grad.abs().sum()) > 0


def test_hooks_are_released(in_place, tiny_images):
    feature_maps(in_place, tiny_images, ["conv1", "act"])
    assert num_hooks(in_place.module) == 0
    with pytest.raises(RuntimeError):
        feature_maps(in_place, torch.rand(1, 3, 1, 8, 8), ["conv1"])
    with pytest.raises(ZeroDivisionError), capture(in_place.module, ["conv1"]):
        raise ZeroDivisionError(num_hooks(in_place.module))
    assert num_hooks(in_place.module) == 0


def test_capture_alone_lets_the_forward_finish(in_place, tiny_images):
    with capture(in_place.module, ["conv1"]) as outputs:
        logits = in_place.logits(tiny_images)
    assert logits.shape == (3, 5)
    assert outputs["conv1"].shape == (3, 6, 32, 32)


def test_unknown_and_flat_layers_name_the_nearest(resnet18, images):
    with pytest.raises(ModelError, match=r"layer 'layer4.3' is not in resnet18; nearest: 'layer4\.[01]'"):
        feature_maps(resnet18, images, ["layer4.3"])
    with pytest.raises(ModelError, match=r"'fc' .*has no spatial map.*\(batch, 1000\).*'layer4'"):
        feature_maps(resnet18, images, ["fc"])


def test_containers_that_never_run_name_their_last_child(tiny_images):
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)])
            self.unused = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x.mean(dim=(2, 3))

    network = small_network(Listed())
    with pytest.raises(ModelError, match=r"'blocks' .*never run by itself.*'blocks.1'"):
        feature_maps(network, tiny_images, ["blocks"])
    with pytest.raises(ModelError, match=r"'unused' .*never run by itself"):
        feature_maps(network, tiny_images, ["unused"])
