"""Ends of blocks are where nothing bypasses the layer; some of them are proposed for atlases."""

import pytest
from small_networks import small_network
from torch import nn

from atlas_pipeline.models import ModelSpec, list_layers, open_network
from atlas_pipeline.models.block_ends import block_ends, proposed_layers
from atlas_pipeline.models.layers import LayerInfo


def conv(num_in, num_out, stride=1):
    return nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1)


class Residual(nn.Module):
    """The convolutions and the shortcut are within the block."""

    def __init__(self, num_in, num_out, stride=1):
        super().__init__()
        self.first, self.second = conv(num_in, num_out, stride), conv(num_out, num_out)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride=stride), nn.BatchNorm2d(num_out))

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


class WithoutShortcut(nn.Module):
    """Parts of the block are on every path too, but they are not its end."""

    def __init__(self, num_in, num_out):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Sequential(conv(num_in, num_out), nn.ReLU()), nn.Sequential(conv(num_out, num_out))
        )

    def forward(self, x):
        return self.parts(x) * 1.0


class Wrapped(nn.Module):
    def __init__(self, body, channels, branches_on_values=False):
        super().__init__()
        self.body, self.head = body, nn.Linear(channels, 5)
        self.branches_on_values = branches_on_values

    def forward(self, x):
        if self.branches_on_values and x.sum() > 1e9:
            x = x * 2
        return self.head(self.body(x).mean((2, 3)))


def residual_body():
    return nn.Sequential(
        conv(3, 8),
        nn.ReLU(),
        nn.Sequential(Residual(8, 8), Residual(8, 8)),
        nn.Sequential(Residual(8, 12, 2)),
    )


@pytest.mark.parametrize("untraceable", [False, True])
def test_residual_blocks_end_where_nothing_bypasses_them(untraceable):
    network = small_network(Wrapped(residual_body(), 12, branches_on_values=untraceable))
    # body.2 and body.2.1 are one output, as are body.3 and body.3.0 and body: the outermost is taken.
    wanted = ["body.2.0", "body.2", "body"]
    if untraceable:
        # By names alone, equal outputs cannot be told.
        assert set(wanted) <= set(block_ends(network))
        assert not [name for name in block_ends(network) if "shortcut" in name or "first" in name]
    else:
        assert block_ends(network) == wanted


def test_without_blocks_the_last_map_of_each_size_ends_one():
    body = nn.Sequential(
        conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), nn.MaxPool2d(2), conv(8, 8), nn.ReLU(), nn.MaxPool2d(2)
    )
    network = small_network(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)))
    assert block_ends(network) == ["3", "6"]


def test_parts_of_blocks_are_no_blocks():
    body = nn.Sequential(WithoutShortcut(3, 8), WithoutShortcut(8, 8), WithoutShortcut(8, 12))
    assert block_ends(small_network(Wrapped(body, 12))) == ["body.0", "body.1", "body"]


def test_sizes_read_by_the_code_are_no_bypass():
    class Reshaped(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = Residual(3, 8), Residual(8, 8), nn.Linear(8, 5)

        def forward(self, x):
            height, num = x.shape[2], x.size(0)
            x = self.two(self.one(x))
            return self.head(x.reshape(num, 8, height * height).mean(2))

    assert block_ends(small_network(Reshaped())) == ["one", "two"]


def test_torchvision_networks():
    network = open_network(ModelSpec(source="torchvision", name="resnet18", weights="random"))
    ends = block_ends(network)
    assert ends == ["relu", *(f"layer{n}{part}" for n in range(1, 5) for part in (".0", ""))] or ends[
        -8:
    ] == [f"layer{n}{part}" for n in range(1, 5) for part in (".0", "")]
    infos = list_layers(network, names=ends[-6:])
    assert [info.name for info in infos] == ends[-6:]
    assert proposed_layers(infos) == ends[-6:]


def info(name, side, stride=8):
    return LayerInfo(name, "Block", 8, side, side, 32, stride, False, "channels first")


def test_proposed_layers_are_deep_have_inner_positions_and_are_few():
    sides = [112, 56, 56, *[28] * 4, *[14] * 6, *[7] * 3, 1]
    infos = [info(f"{number}", side) for number, side in enumerate(sides)]
    chosen = [int(name) for name in proposed_layers(infos)]
    assert len(chosen) == 6
    assert chosen == sorted(set(chosen))
    assert [sides[number] for number in chosen] == [28, 28, 14, 14, 7, 7]
    # The last one that has a position off the border.
    assert chosen[-1] == len(sides) - 2


@pytest.mark.parametrize(
    ("sides", "wanted"), [([224, 112, 56, 28], [0, 1, 2, 3]), ([1, 1], [0, 1]), ([64], [0])]
)
def test_where_few_layers_suit_others_are_proposed(sides, wanted):
    infos = [info(f"{number}", side) for number, side in enumerate(sides)]
    assert [int(name) for name in proposed_layers(infos)] == wanted
