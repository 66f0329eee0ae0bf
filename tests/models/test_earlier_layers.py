"""The maps on the way to a layer, averaged over the field that a position of the layer reads."""

import torch
from small_networks import small_network
from torch import nn

from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.earlier_layers import earlier_layers, field_means


def test_layers_are_ends_of_blocks_before_the_layer(googlenet):
    assert earlier_layers(googlenet, "inception4a") == [
        "conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3",
    ]  # fmt: skip


def test_a_layer_inside_a_block_has_its_forerunners_there(googlenet):
    layers = earlier_layers(googlenet, "inception3a.branch2.1.conv")
    assert layers[0] == "conv1"
    assert "inception3a.branch2.0" in layers
    assert not [name for name in layers if name.startswith(("inception3a.branch2.1", "inception3b"))]


def test_many_layers_are_thinned_from_the_first_to_the_last():
    blocks = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(20)]
    network = small_network(nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)))
    assert earlier_layers(network, "19") == ["0", "3", "5", "8", "10", "13", "15", "18"]


def test_a_module_that_runs_twice_is_no_place_on_the_way(in_place):
    assert in_place.runs["act"].times == 2
    assert "act" not in earlier_layers(in_place, list(in_place.runs)[-1])


def test_the_first_layer_has_none_before_it(googlenet):
    assert earlier_layers(googlenet, "conv1.conv") == []


def test_means_are_taken_over_the_field(tiny_images, in_place):
    side = tiny_images.shape[-1]
    layers = ["conv1", "conv2"]
    maps = feature_maps(in_place, tiny_images, layers)
    # The field is one quarter of the image.
    field = torch.zeros(side, side)
    field[: side // 2, side // 2 :] = 3.0
    means = field_means(in_place, layers, tiny_images, field)
    for place, layer in enumerate(layers):
        height, width = maps[layer].shape[-2:]
        expected = maps[layer][:, :, : height // 2, width // 2 :].mean((2, 3))
        assert torch.allclose(means[:, place, : expected.shape[1]], expected, atol=1e-5)


def test_narrow_layers_are_filled_up_with_zeros():
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 9, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)
    )
    network = small_network(module)
    side = network.preprocess.crop
    means = field_means(network, ["0", "1"], torch.rand(2, 3, side, side), torch.ones(side, side))
    assert means.shape == (2, 2, 9)
    assert (means[:, 0, 4:] == 0).all()
    assert (means[:, 0, :4] != 0).all()
