"""Networks from a user's own Python file."""

import pytest
import torch

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import open_network
from atlas_pipeline.models.labels import class_labels
from atlas_pipeline.models.spec import ModelSpec

NET = """
from torch import nn
from helper_beside import CHANNELS

LABELS = ["cat", "dog"]
PREPROCESS = {"crop": 16, "mean": [0, 0, 0], "std": [1, 1, 1]}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, 3)
        self.head = nn.Linear(CHANNELS * 196, 2)
    def forward(self, x):
        x = self.conv(x)
        return self.head(x.view(len(x), -1))

def build():
    return Net()

instance = Net()
number = 3
def broken():
    raise ValueError("no such thing")
def nothing():
    return None
def headless():
    return nn.Conv2d(3, 2, 3)
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "helper_beside.py").write_text("CHANNELS = 4\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def spec(net, attribute="build", **options) -> ModelSpec:
    return ModelSpec(source="python", name=f"{net}:{attribute}", **options)


def test_a_file_with_labels_and_preprocess(net):
    network = open_network(spec(net))
    assert network.labels == ("cat", "dog")
    assert network.name == "net"
    # A crop without a resize also resizes to the crop size.
    assert (network.preprocess.resize, network.preprocess.crop) == (16, 16)
    assert class_labels(spec(net)) == ("cat", "dog")


def test_code_that_views_its_maps_runs_unchanged(net):
    """.view() fails on channels-last tensors."""
    network = open_network(spec(net))
    assert network.memory_format == torch.contiguous_format
    assert network.logits(torch.rand(2, 3, 16, 16)).shape == (2, 2)


def test_parameters_depend_on_the_seed_alone(net):
    images = torch.rand(1, 3, 16, 16)
    for attribute, weights in (("build", None), ("build", "random"), ("instance", "random")):
        torch.manual_seed(5)
        a = open_network(spec(net, attribute, weights=weights)).logits(images)
        torch.manual_seed(6)
        b = open_network(spec(net, attribute, weights=weights)).logits(images)
        c = open_network(spec(net, attribute, weights=weights, seed=1)).logits(images)
        assert torch.equal(a, b)
        assert not torch.allclose(a, c)


def test_weights_from_a_file(net, tmp_path):
    trained = open_network(spec(net, seed=9))
    torch.save({"state_dict": trained.module.state_dict()}, tmp_path / "w.pt")
    network = open_network(spec(net, "instance", weights=str(tmp_path / "w.pt")))
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(network.logits(images), trained.logits(images))


def test_a_module_of_the_working_folder(net, monkeypatch):
    monkeypatch.chdir(net.parent)
    net.rename(net.with_name("net_of_here.py"))
    network = open_network(ModelSpec(source="python", name="net_of_here:build"))
    assert network.name == "net_of_here"


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("biuld", "has no 'biuld'; it has: .*build"),
        ("broken", "failed: ValueError: no such thing"),
        ("nothing", "returned NoneType"),
        ("number", "is int; it must be callable"),
        ("headless", r"must return logits of shape \(batch, class\), but returns \(batch, 2, 14, 14\)"),
    ],
)
def test_mistakes_in_the_users_code(net, attribute, message):
    with pytest.raises(ModelError, match=message) as caught:
        open_network(spec(net, attribute))
    assert "\n" not in str(caught.value)


def test_a_file_that_fails_to_import(tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(ModelError, match=r"importing 'bad.py' failed: ModuleNotFoundError"):
        open_network(ModelSpec(source="python", name=f"{tmp_path / 'bad.py'}:build"))


def test_labels_by_index_are_names_and_not_indices(net):
    net.write_text(NET.replace('["cat", "dog"]', '{1: "dog", 0: "cat"}'))
    assert open_network(spec(net)).labels == class_labels(spec(net)) == ("cat", "dog")


def test_labels_that_are_not_as_many_as_logits(net, tmp_path):
    net.write_text(NET.replace('["cat", "dog"]', '["cat"]'))
    with pytest.raises(ModelError, match="names 1 classes, but the network has 2"):
        open_network(spec(net))
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert open_network(spec(net, labels=str(tmp_path / "labels.txt"))).labels == ("cat", "dog")


def test_an_unknown_preprocess_key(net):
    net.write_text(NET.replace('"crop": 16', '"corp": 16'))
    with pytest.raises(ModelError, match=r"key 'corp' is not in PREPROCESS of 'net.py'; nearest: 'crop'"):
        open_network(spec(net))


def test_a_network_that_cannot_run_at_its_size(net):
    with pytest.raises(ModelError, match=r"cannot run on a 20 px image: .*model.preprocess.crop"):
        open_network(spec(net, preprocess={"resize": 20, "crop": 20}))
