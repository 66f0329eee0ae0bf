"""Many layers' attributions from one forward pass equal one backward pass per class, layer by layer."""

import numpy as np
import pytest
import torch
from backward_passes import by_backward
from small_networks import Convolutions, small_network
from torch import nn

from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import noise_images, seeded
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.layer_samples import (
    AttributionRequest,
    LayerRequest,
    layer_samples,
    map_shape,
    on_host,
)
from atlas_pipeline.models.shared_trial import shared_pass
from atlas_pipeline.numerics.positions import relative_positions, spatial_positions


def requests(network, layers, num_images, per_image=1, kind="smooth", classes=None, method="gradient"):
    how = AttributionRequest(method=method, maxpool_gradient=kind, classes=classes)
    relative = relative_positions(3, range(num_images), per_image)
    return [
        LayerRequest(
            layer=layer,
            positions=spatial_positions(relative, *map_shape(network, layer)[1:], edge=1),
            attribution=how,
        )
        for layer in layers
    ]


def assert_near(actual, expected, tolerance=1e-5):
    largest = expected.abs().amax(dim=-1, keepdim=True)
    assert float(largest.min()) > 0
    assert float(((actual - expected).abs() / largest).max()) < tolerance


def assert_shared(network, layers, kind="smooth"):
    found = {layer: shared_pass(network, layer, kind) for layer in layers}
    assert {layer: reason for layer, reason in found.items() if isinstance(reason, str)} == {}


def by_backward_of(network, images, request, classes):
    """(B, K) by one backward pass per class; for tokens by a product, which other tests compare."""
    at = torch.from_numpy(request.positions[:, 0].astype(np.int64))
    kind = request.attribution.maxpool_gradient
    if str(network.runs[request.layer].form) == "channels first":
        return by_backward(network, images, request.layer, at, kind, classes)
    return attribution(network, images, request.layer, at, kind, classes=classes)


@pytest.fixture(scope="module")
def transformer():
    from torchvision.models import VisionTransformer

    with seeded(0):
        module = VisionTransformer(32, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=7)
        for parameter in module.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.3)
    return small_network(module)


@pytest.fixture(scope="module")
def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    with seeded(0):
        blocks = [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)]
        return small_network(ConvNeXt(blocks, layer_scale=0.5, num_classes=7))


@pytest.fixture(scope="module")
def mobilenet():
    return open_network(
        ModelSpec(source="torchvision", name="mobilenet_v3_small", weights="random", preprocess={"crop": 64})
    )


@pytest.mark.parametrize("kind", ["exact", "smooth"])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("small_inception", ["mixed3", "mixed4", "mixed5"]),
        ("googlenet", ["inception3b", "inception4c.branch2", "inception5a"]),
        ("inception_v1", ["conv2d1", "mixed4a", "mixed4e"]),
        ("resnet18", ["layer1", "layer2.0.conv1", "layer3.1.relu", "layer4.0.downsample.0"]),
        ("timm_resnet", ["layer2", "layer3"]),
        ("mobilenet", ["features.1", "features.4.block.2", "features.9"]),
        ("convnext", ["features.1.0.block.5", "features.3.0.block.3"]),
        ("in_place", ["conv1", "norm1", "act", "skip"]),
        (
            "transformer",
            ["conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.mlp"],
        ),
        ("registers", ["patch_embed.proj", "blocks.0", "blocks.1.attn"]),
        ("swin", ["features.1", "features.3.0.mlp"]),
    ],
)
def test_each_layer_gets_what_backward_passes_give(request, name, layers, kind):
    network = request.getfixturevalue(name)
    images = noise_images(network.preprocess.crop, seed=7, num_images=2)
    classes = tuple(range(0, network.num_classes, max(1, network.num_classes // 6)))
    wanted = requests(network, layers, 2, kind=kind, classes=classes)
    assert_shared(network, layers, kind)
    maps = feature_maps(network, images, layers)
    for sample, one in zip(layer_samples(network, images, wanted), wanted, strict=True):
        rows, columns = one.positions[:, 0].T
        expected = maps[one.layer][torch.arange(2), :, rows.astype(int), columns.astype(int)]
        assert torch.equal(sample.activations[:, 0], expected)
        assert_near(sample.attributions[:, 0], by_backward_of(network, images, one, classes))
        assert sample.remark is None


@pytest.mark.parametrize(("name", "layers"), [
    ("small_inception", ["mixed3", "mixed3.0.branch3x3.0.0", "mixed4", "mixed5"]),
    ("resnet18", ["layer1.0.conv1", "layer1", "layer3"]),
    ("transformer", ["conv_proj", "encoder.layers.encoder_layer_1"]),
])  # fmt: skip
def test_the_bits_of_a_layer_do_not_depend_on_other_layers(request, name, layers):
    network = request.getfixturevalue(name)
    images = noise_images(network.preprocess.crop, seed=7, num_images=2)
    wanted = requests(network, layers, 2)
    together = layer_samples(network, images, wanted)
    for i, one in enumerate(wanted):
        (alone,) = layer_samples(network, images, [one])
        assert torch.equal(alone.activations, together[i].activations)
        assert torch.equal(alone.attributions, together[i].attributions)


def test_several_positions_equal_one_after_the_other(small_inception, tiny_images, monkeypatch):
    wanted = requests(small_inception, ["mixed3", "mixed5"], 3, per_image=4)
    together = layer_samples(small_inception, tiny_images, wanted)
    monkeypatch.setattr("atlas_pipeline.models.layer_samples.DIRECTIONS_AT_ONCE", 3)
    in_parts = layer_samples(small_inception, tiny_images, wanted)
    for sample, part, one in zip(together, in_parts, wanted, strict=True):
        assert sample.attributions.shape == (3, 4, 12)
        assert torch.equal(sample.attributions, part.attributions)
        for k in range(4):
            at = one.positions[:, k].astype(int)
            expected = attribution(small_inception, tiny_images, one.layer, at, "smooth")
            assert_near(sample.attributions[:, k], expected)


def test_convolutions_run_once_and_once_more_per_tangent_that_is_not_zero(resnet18, images):
    layers = ["layer2", "layer4.1.conv1"]
    wanted = requests(resnet18, layers, 2)
    layer_samples(resnet18, images, wanted)
    counts = []
    for some in ([], *([one] for one in wanted), wanted):
        with Convolutions() as convolutions, torch.no_grad():
            layer_samples(resnet18, images, some) if some else resnet18.logits(images)
        counts.append(convolutions.count)
    # After layer2: two stages of five convolutions; after layer4.1.conv1: one.
    assert counts == [20, 20 + 10, 20 + 1, 20 + 10 + 1]


class Unusual(nn.Module):
    """Operations without rules, and operations in place that alter what is used later."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.head = nn.Conv2d(3, 6, 3), nn.AdaptiveMaxPool2d(2), nn.Linear(24, 5)

    def forward(self, x):
        x = self.conv(x)
        y = torch.erf(x) * x.pow(2)
        x.mul_(x.abs().add_(1).log())
        low, high = torch.stack([x, -y], dim=1).amax(dim=1).split([2, 4], dim=1)
        high = torch.logsumexp(high, dim=(2, 3), keepdim=True).expand(-1, -1, 2, 2)
        both = torch.cat([self.pool(low), high], dim=1)
        wide = torch.where(both > 0, both, both * both)
        return self.head(torch.einsum("bchw,bcvw->bchv", wide, wide.cumsum(3)).flatten(1))


def test_operations_without_rules_take_forward_mode(tiny_images):
    with seeded(0):
        network = small_network(Unusual())
    (one,) = requests(network, ["conv"], 3)
    assert_shared(network, ["conv"])
    (sample,) = layer_samples(network, tiny_images, [one])
    # Autograd refuses this network's writes in place.
    expected = attribution(network, tiny_images, "conv", one.positions[:, 0].astype(int), "smooth")
    assert_near(sample.attributions[:, 0], expected)


def test_an_untraceable_network_takes_a_product_per_position(branching, tiny_images):
    wanted = requests(branching, ["conv", "norm"], 3, per_image=2)
    samples = layer_samples(branching, tiny_images, wanted)
    assert shared_pass(branching, "conv", "smooth") == "the network's code cannot be traced"
    for sample, one in zip(samples, wanted, strict=True):
        for k in range(2):
            at = one.positions[:, k].astype(int)
            expected = attribution(branching, tiny_images, one.layer, at, "smooth")
            assert torch.equal(sample.attributions[:, k], expected)


@pytest.mark.parametrize(("layers", "passes"), [(["layer1"], 2), (["layer4"], 1), (["layer1", "layer4"], 2)])
def test_directions_share_a_pass_as_memory_allows(resnet18, images, layers, passes, monkeypatch):
    """Maps after layer4 have an eighth of the values of those after layer1."""
    wanted = requests(resnet18, layers, 2, per_image=6)
    layer_samples(resnet18, images, wanted)
    monkeypatch.setattr("atlas_pipeline.models.layer_samples.DIRECTIONS_AT_ONCE", 1)
    counted = []
    run = resnet18.normalise
    monkeypatch.setattr(resnet18, "normalise", lambda images: counted.append(1) or run(images))
    layer_samples(resnet18, images, wanted)
    assert len(counted) == passes


class Aliased(nn.Module):
    """A view is altered in place, which the tangents of the tensor behind it do not see."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x):
        x = self.conv(x)
        x[:, :2].mul_(x[:, :2].sigmoid() + 2)
        return self.head(x.mean(dim=(2, 3)))


def test_a_pass_that_would_be_wrong_is_found_out(tiny_images):
    with seeded(0):
        network = small_network(Aliased())
    assert shared_pass(network, "conv", "exact") == "the traced code gives other derivatives"
    (one,) = requests(network, ["conv"], 3, kind="exact")
    (sample,) = layer_samples(network, tiny_images, [one])
    assert_near(sample.attributions[:, 0], by_backward_of(network, tiny_images, one, range(5)))


@pytest.mark.parametrize("method", ["ablation", "integrated"])
def test_other_methods_and_layers_without_attributions(small_inception, tiny_images, method):
    first, second = requests(small_inception, ["mixed3", "mixed4"], 3, method=method)
    plain = LayerRequest(layer="mixed5", positions=second.positions, attribution=None)
    found = layer_samples(
        small_inception, tiny_images, [first, plain, *requests(small_inception, ["mixed4"], 3)]
    )
    assert [sample.attributions is None for sample in found] == [False, True, False]
    (alone,) = layer_samples(small_inception, tiny_images, [first])
    assert torch.equal(found[0].attributions, alone.attributions)
    host, is_finite = on_host(found)
    assert is_finite
    assert np.array_equal(host[1].activations, found[1].activations.numpy())


def test_a_value_that_is_not_finite_is_noticed(small_inception, tiny_images):
    images = tiny_images.clone()
    images[1, 0, 3, 3] = float("nan")
    _, is_finite = on_host(layer_samples(small_inception, images, requests(small_inception, ["mixed3"], 3)))
    assert not is_finite


def test_a_moved_network_is_tried_again(small_inception):
    shared_pass(small_inception, "mixed3", "smooth")
    assert small_inception.shared_passes
    assert not small_inception.to("cpu").shared_passes
