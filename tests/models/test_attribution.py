"""Attribution by one forward-mode product agrees with one backward pass per class."""

import pytest
import torch
import torch.nn.functional as F
from backward_passes import assert_close, by_backward
from small_networks import num_hooks, small_network
from torch import nn

from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.suffix import suffix


@pytest.mark.parametrize("kind", ["exact", "smooth"])
@pytest.mark.parametrize("layer", ["inception3b", "inception4c", "inception4d.branch2.1.conv", "maxpool2"])
def test_googlenet_equals_backward_passes(googlenet, images, layer, kind):
    positions = torch.tensor([[1, 1], [0, 2]])
    classes = range(0, 1000, 50)
    expected = by_backward(googlenet, images, layer, positions, kind, classes)
    actual = attribution(googlenet, images, layer, positions, kind)
    assert actual.shape == (2, 1000)
    assert_close(actual[:, list(classes)], expected)
    h = feature_maps(googlenet, images, [layer])[layer]
    assert_close(attribution(googlenet, images, layer, positions, kind, h, classes=classes), expected)


@pytest.mark.parametrize("kind", ["exact", "smooth"])
@pytest.mark.parametrize("layer", ["mixed3", "mixed4", "mixed4.0.branch_pool.0", "mixed5"])
def test_the_demo_network_equals_backward_passes(small_inception, tiny_images, layer, kind):
    positions = torch.tensor([[1, 1], [2, 0], [3, 3]])
    expected = by_backward(small_inception, tiny_images, layer, positions, kind, range(12))
    assert_close(attribution(small_inception, tiny_images, layer, positions, kind), expected)


@pytest.mark.parametrize(
    "layer", ["layer1.0.conv1", "layer2.0.downsample.1", "layer3.1.relu", "layer4.0.bn2"]
)
def test_residual_networks_that_work_in_place(resnet18, images, layer):
    positions = torch.tensor([[1, 1], [0, 1]])
    expected = by_backward(resnet18, images, layer, positions, "smooth", range(0, 1000, 100))
    actual = attribution(resnet18, images, layer, positions, "smooth", classes=range(0, 1000, 100))
    assert_close(actual, expected)


@pytest.mark.parametrize("layer", ["conv1", "norm1", "act", "conv2", "skip"])
def test_in_place_and_repeated_layers(in_place, tiny_images, layer):
    positions = torch.tensor([[3, 4], [5, 6], [0, 15]])
    expected = by_backward(in_place, tiny_images, layer, positions, "exact", range(5))
    assert_close(attribution(in_place, tiny_images, layer, positions), expected)


def test_smooth_and_exact_differ_where_a_pool_follows(googlenet, images):
    positions = torch.tensor([[1, 1], [2, 2]])
    exact, smooth = (
        attribution(googlenet, images, "inception3b", positions, kind) for kind in ("exact", "smooth")
    )
    assert float((exact - smooth).abs().max()) > 0.01 * float(exact.abs().max())


def test_images_do_not_touch_each_other(small_inception, tiny_images):
    positions = torch.tensor([[1, 1], [2, 0], [3, 3]])
    together = attribution(small_inception, tiny_images, "mixed3", positions, "smooth")
    for i in range(3):
        alone = attribution(small_inception, tiny_images[i : i + 1], "mixed3", positions[i : i + 1], "smooth")
        assert_close(together[i : i + 1], alone)


def test_a_linear_head_gives_the_product_of_weights_and_activation(in_place, tiny_images):
    positions = torch.tensor([[3, 4], [5, 6], [0, 15]])
    h = feature_maps(in_place, tiny_images, ["act"])["act"]
    a = h[torch.arange(3), :, positions[:, 0], positions[:, 1]]
    expected = a @ in_place.module.head.weight.T / (16 * 16)
    assert_close(attribution(in_place, tiny_images, "act", positions), expected)


def test_a_tail_is_used_only_where_logits_depend_on_the_layer_alone(resnet18, googlenet):
    assert suffix(resnet18, "layer3") is not None
    assert suffix(resnet18, "layer3.1.conv1") is None
    assert suffix(googlenet, "inception4c") is not None
    assert suffix(googlenet, "inception4c.branch1") is None


def test_untraceable_networks_have_attributions_too(branching, tiny_images):
    positions = torch.tensor([[3, 4], [5, 6], [0, 15]])
    assert suffix(branching, "conv") is None
    h = feature_maps(branching, tiny_images, ["conv"])["conv"]
    expected = by_backward(branching, tiny_images, "conv", positions, "exact", range(3))
    assert_close(attribution(branching, tiny_images, "conv", positions, output=h), expected)


def test_the_callers_modes_and_tensors_are_left_alone(in_place, tiny_images):
    positions = torch.tensor([[3, 4], [5, 6], [0, 15]])
    expected = attribution(in_place, tiny_images, "norm1", positions)
    with torch.inference_mode():
        h = feature_maps(in_place, tiny_images, ["norm1"])["norm1"]
        kept = h.clone()
        inside = attribution(in_place, tiny_images, "norm1", positions.numpy(), output=h)
    assert torch.equal(h, kept)
    assert_close(inside, expected)
    assert num_hooks(in_place.module) == 0
    assert not inside.requires_grad


@pytest.mark.parametrize("position", [[32, 0], [0, -1]])
def test_positions_outside_the_map(in_place, tiny_images, position):
    with pytest.raises(IndexError, match="32 x 32 map"):
        attribution(in_place, tiny_images, "norm1", torch.tensor([[0, 0], [1, 1], position]))
    assert num_hooks(in_place.module) == 0


def test_logsigmoid_has_an_attribution_too(tiny_images):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.logsigmoid(self.conv(x)).mean(dim=(2, 3))

    network = small_network(Net())
    positions = torch.tensor([[1, 1]] * 3)
    expected = by_backward(network, tiny_images, "conv", positions, "exact", range(4))
    assert_close(attribution(network, tiny_images, "conv", positions), expected)


@pytest.mark.parametrize("kind", ["exact", "smooth"])
def test_transformers_have_attributions_from_their_patches(tiny_images, kind):
    from torchvision.models import VisionTransformer

    with seeded(0):
        module = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=7)
        nn.init.normal_(module.heads.head.weight)
    network = small_network(module)
    positions = torch.tensor([[1, 1], [0, 2], [3, 3]])
    expected = by_backward(network, tiny_images, "conv_proj", positions, kind, range(7))
    assert_close(attribution(network, tiny_images, "conv_proj", positions, kind), expected)
    assert torch.backends.mha.get_fastpath_enabled()
