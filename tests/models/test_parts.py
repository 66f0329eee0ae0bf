import pytest
import torch
from torch import nn

from atlas_pipeline.inversion.visible_window import parts_of, visible_window
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.cut import cut

CPU = torch.device("cpu")


def chained(parts, images):
    for part in parts:
        images = part(images)
    return images


@pytest.fixture(scope="module", params=[("googlenet", "inception4b"), ("resnet18", "layer2")])
def whole(request) -> nn.Module:
    name, layer = request.param
    return cut(open_network(ModelSpec(source="torchvision", name=name, weights="random")), layer)


def test_parts_one_after_the_other_are_the_network(whole):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    parts = whole.parts(64)
    assert len(parts) > 3
    torch.testing.assert_close(chained(parts, images), whole(images))


def test_what_is_trimmed_changes_neither_the_centre_nor_its_gradient(whole):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    window = visible_window(whole, 64, CPU)
    assert window.trims[-1][1] - window.trims[-1][0] < 64 // 8
    feature_map = whole(images)
    row, col = feature_map.shape[2] // 2, feature_map.shape[3] // 2
    centre = feature_map[:, :, row, col]
    part = images[:, :, window.low : window.high, window.low : window.high]
    trimmed = window.activation(parts_of(whole, 64), part)
    torch.testing.assert_close(trimmed, centre, rtol=1e-4, atol=1e-5)
    (of_whole,) = torch.autograd.grad(centre.sum(), images)
    (of_trimmed,) = torch.autograd.grad(trimmed.sum(), images)
    torch.testing.assert_close(of_trimmed, of_whole, rtol=1e-3, atol=1e-5)


def test_trials_print_nothing(whole, capfd):
    """A traced module prints its failures to stderr, and trials at odd sizes fail."""
    num_failed = 0
    for part in whole.parts(64):
        try:
            part(torch.zeros(1, 5, 1, 1))
        except RuntimeError:
            num_failed += 1
    assert num_failed > 2
    assert capfd.readouterr().err == ""


def test_a_network_that_cannot_be_traced_is_one_part(tmp_path):
    (tmp_path / "branching.py").write_text(
        "from torch import nn\n"
        "class Branching(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 4, 3, padding=1)\n"
        "        self.head = nn.Linear(4, 2)\n"
        "    def forward(self, images):\n"
        "        maps = self.conv(images)\n"
        "        if maps.sum() > 1e9:\n"
        "            maps = maps * 0\n"
        "        return self.head(maps.mean((2, 3)))\n"
        "PREPROCESS = {'crop': 16}\n"
        "build = Branching\n"
    )
    network = open_network(ModelSpec(source="python", name=f"{tmp_path}/branching.py:build"))
    whole = cut(network, "conv")
    assert whole.parts(16) == [whole]
    # An untraceable network is still cropped to the visible window of the image.
    assert visible_window(whole, 16, CPU).high - visible_window(whole, 16, CPU).low == 3
