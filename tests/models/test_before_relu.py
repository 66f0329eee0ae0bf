"""Values before ReLUs: through concatenations, in-place ReLUs and functions; else the layers' own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from atlas_pipeline.models import feature_maps
from atlas_pipeline.models.before_relu import activations, cut_before_relu, value_maps
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.preprocess import Preprocess

PREPROCESS = Preprocess(resize=16, crop=16, mean=(0.5,) * 3, std=(0.25,) * 3)


class Branches(nn.Module):
    """A ReLU as a function, one in place, and a branch that ends in a pool."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(4, width, 1) for width in (3, 2, 2))
        self.relu, self.pool = nn.ReLU(inplace=True), nn.AvgPool2d(3, 1, 1)

    def forward(self, x):
        return torch.cat([F.relu(self.one(x)), self.relu(self.two(x)), self.pool(self.three(x))], dim=1)


class Whole(nn.Module):
    def __init__(self, branching=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.bare = nn.Conv2d(4, 4, 3, padding=1)
        self.mixed, self.head, self.branching = Branches(), nn.Linear(7, 5), branching

    def forward(self, x):
        # The ReLU after `bare` works in place on the layer's own output.
        x = self.mixed(F.relu_(self.bare(self.stem(x))))
        if self.branching and x.sum() > 1e9:
            x = x + 1
        return self.head(x.mean((2, 3)))


def network(**how):
    torch.manual_seed(0)
    return Network(name="whole", module=Whole(**how), preprocess=PREPROCESS, weights_note="")


IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
LAYERS = ["stem", "bare", "mixed"]


def plain(module, images):
    """The values computed by hand."""
    x = module.stem[0](images)
    bare = module.bare(x.relu())
    y = bare.relu()
    mixed = module.mixed
    joined = torch.cat([mixed.one(y), mixed.two(y), mixed.pool(mixed.three(y))], 1)
    return {"stem": x, "bare": bare, "mixed": joined}


def test_values_are_those_before_the_relu_and_flags_say_which():
    net = network()
    maps = value_maps(net, LAYERS)
    with torch.no_grad():
        found, wanted = maps.read(IMAGES), plain(net.module, net.normalise(IMAGES))
    for layer in LAYERS:
        torch.testing.assert_close(found[layer], wanted[layer])
    assert maps.is_before_relu["stem"].all()
    assert not maps.is_before_relu["bare"].any()
    assert maps.is_before_relu["mixed"].tolist() == [True] * 5 + [False] * 2


def test_with_relus_put_back_the_values_are_the_feature_maps():
    net = network()
    maps = value_maps(net, LAYERS)
    own = feature_maps(net, IMAGES, LAYERS)
    for layer, values in maps.read(IMAGES).items():
        torch.testing.assert_close(activations(values, maps.is_before_relu[layer]), own[layer])
    assert (own["mixed"][:, 5:] < 0).any()


def test_a_network_that_cannot_be_traced_gives_its_own_maps():
    net = network(branching=True)
    maps = value_maps(net, ["stem"])
    assert not maps.is_before_relu["stem"].any()
    torch.testing.assert_close(maps.read(IMAGES)["stem"], feature_maps(net, IMAGES, ["stem"])["stem"])


@pytest.mark.parametrize("layer", LAYERS)
def test_the_cut_network_gives_the_same_values(layer):
    net = network()
    part = cut_before_relu(net, layer)
    with torch.no_grad():
        torch.testing.assert_close(part(IMAGES), plain(net.module, net.normalise(IMAGES))[layer])
    # The network itself still has its ReLUs.
    assert feature_maps(net, IMAGES, ["stem"])["stem"].min() == 0


def test_other_layers_do_not_change_a_layers_values():
    net = network()
    alone, together = (value_maps(net, layers).read(IMAGES)["stem"] for layers in (["stem"], LAYERS))
    assert torch.equal(alone, together)
