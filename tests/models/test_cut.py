"""A network cut at a layer gives the same feature map and image gradient with fewer modules."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import num_hooks, small_network
from torch import fx, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.cut import cut


def assert_same(actual, expected):
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


def num_norms(module):
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def check(network, images, layer):
    """Assert that the cut network's feature map and gradient equal those of the whole network."""
    part = cut(network, layer)
    gradients = []
    for function in (part, lambda x: feature_maps(network, x, [layer])[layer]):
        x = images.clone().requires_grad_()
        values = function(x)
        (values**2).sum().backward()
        gradients.append((values.detach(), x.grad))
    assert_same(gradients[0][0], gradients[1][0])
    difference = (gradients[0][1] - gradients[1][1]).norm() / gradients[1][1].norm()
    # Rounding can move a max-pool of nearly equal values to a neighbour; each costs 0.5 % of the gradient.
    assert float(difference) < 0.02
    return part


@pytest.mark.parametrize(
    "layer", ["inception3a", "inception4c", "inception4c.branch3", "conv1.conv", "inception3b.branch2.1.bn"]
)
def test_googlenet(googlenet, images, layer):
    part = check(googlenet, images, layer)
    assert num_parameters(part) < num_parameters(googlenet.module)
    assert num_norms(part) == 0
    assert not any(p.requires_grad for p in part.parameters())
    assert not any(m.training for m in part.modules())


@pytest.mark.parametrize(
    "layer", ["layer1.0.conv1", "layer2.0.downsample.1", "layer3", "layer2.1.relu", "conv1"]
)
def test_resnet(resnet18, images, layer):
    part = check(resnet18, images, layer)
    assert num_norms(part) == 0


@pytest.mark.parametrize("layer", ["mixed3", "mixed4", "mixed5.0.branch3x3.1.1"])
def test_the_demo_network(small_inception, tiny_images, layer):
    assert num_norms(check(small_inception, tiny_images, layer)) == 0


@pytest.mark.parametrize("layer", ["conv1", "norm1", "act", "conv2", "skip"])
def test_in_place_and_repeated_layers(in_place, tiny_images, layer):
    check(in_place, tiny_images, layer)


@pytest.mark.parametrize("layer", ["conv", "norm"])
def test_networks_that_cannot_be_traced_are_stopped(branching, tiny_images, layer):
    part = check(branching, tiny_images, layer)
    assert num_hooks(part) == 0


def test_other_sizes_than_the_networks_own(googlenet):
    images = torch.rand(3, 3, 48, 80)
    assert_same(
        cut(googlenet, "inception3a")(images), feature_maps(googlenet, images, ["inception3a"])["inception3a"]
    )


def test_the_network_itself_is_left_alone(resnet18, images):
    before = {k: v.clone() for k, v in resnet18.module.state_dict().items()}
    logits = resnet18.logits(images)
    cut(resnet18, "layer2")
    assert all(torch.equal(v, before[k]) for k, v in resnet18.module.state_dict().items())
    assert torch.equal(resnet18.logits(images), logits)
    assert num_hooks(resnet18.module) == 0


def test_what_a_forward_remembers_is_as_it_was_after_tracing(tiny_images):
    """LeViT's attention caches a table of biases per device; tracing must not leave proxies in it."""

    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.act = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.ReLU()
            self.bias = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.table = {}

        def forward(self, x):
            if "bias" not in self.table:
                self.table["bias"] = self.bias * 2
            self.last = self.conv(x)
            return self.head(self.act(self.last + self.table["bias"]).mean((2, 3)))

    for remembered in ({}, {"bias": torch.full((1, 4, 1, 1), 2.0)}):
        network = small_network(Remembers())
        network.module.table.clear()
        network.module.table |= remembered
        part = cut(network, "act")
        assert isinstance(part.body, fx.GraphModule)
        assert network.module.table.keys() == remembered.keys() | {"bias"}
        assert isinstance(network.module.table["bias"], torch.Tensor)
        assert isinstance(network.module.last, torch.Tensor)
        assert torch.equal(part(tiny_images), feature_maps(network, tiny_images, ["act"])["act"])


def test_branches_that_lead_elsewhere_are_dropped(googlenet):
    whole, branch = cut(googlenet, "inception3a"), cut(googlenet, "inception3a.branch4")
    assert num_parameters(branch) < num_parameters(whole)


def test_a_shared_convolution_is_not_folded(tiny_images):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift = nn.Conv2d(3, 4, 1)
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            nn.init.uniform_(self.norm.running_var, 0.1, 0.5)
            self.out = nn.Identity()

        def forward(self, x):
            x = self.lift(x)
            return self.out(self.norm(self.conv(x)) + self.conv(x)).mean(dim=(2, 3))

    assert num_norms(check(small_network(Shared()), tiny_images, "out")) == 1


def test_what_works_in_place_is_kept_though_its_result_is_dropped(tiny_images):
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.out = nn.Conv2d(4, 4, 3)

        def forward(self, x):
            x = self.conv(x) * 1
            x.add_(0.5)
            F.relu(x, inplace=True)
            return self.out(x).mean(dim=(2, 3))

    part = check(small_network(Forgetful()), tiny_images, "out")
    assert isinstance(part.body, fx.GraphModule)


def test_unknown_layers(resnet18):
    with pytest.raises(ModelError, match="nearest: 'layer3'"):
        cut(resnet18, "layer33")
