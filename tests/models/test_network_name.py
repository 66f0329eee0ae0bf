"""A network has one display name and one note on its weights wherever users see them."""

import re

import pytest
import torch

from atlas_pipeline.models import open_network
from atlas_pipeline.models.demo_network import build_demo
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.network_name import model_title, network_name, weights_note
from atlas_pipeline.models.spec import ModelSpec


@pytest.mark.parametrize(
    ("source", "name", "called"),
    [
        ("python", "scripts/train_cifar10.py:build", "train_cifar10"),
        ("python", "my_package.resnets:model", "resnets"),
        ("python", r"networks\small.py:net", "small"),
        ("python", "networks/resnet.py:resnet50", "resnet50"),
        ("torchvision", "googlenet", "googlenet"),
        ("timm", "resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("inception_v1", None, "inception_v1"),
        ("inception_v1", "lucent", "inception_v1 (lucent)"),
        ("demo", None, "demo"),
        # A run may have been made by a version with a source that this version lacks.
        ("gone", None, "gone"),
        ("gone", "small", "small"),
    ],
)
def test_a_network_is_called_by_what_says_most(source, name, called):
    assert network_name(source, name) == called


@pytest.mark.parametrize(
    ("source", "name"),
    [("torchvision", "googlenet"), ("timm", "resnet50"), ("inception_v1", "lucent"), ("demo", None)],
)
def test_an_identity_tells_the_same_name(source, name):
    identity = model_identity(ModelSpec(source=source, name=name, weights="random"))
    assert model_title(identity) == network_name(source, name)


def test_an_open_network_has_the_name_that_every_output_has(tmp_path):
    code = "import torch\ndef build():\n    return torch.nn.Sequential("
    code += "torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())\n"
    (tmp_path / "small.py").write_text(code + "PREPROCESS = {'crop': 16}\n")
    for spec in (
        ModelSpec(source="python", name=f"{tmp_path}/small.py:build"),
        ModelSpec(source="inception_v1", name="lucent", weights="random", preprocess={"crop": 64}),
        ModelSpec(source="demo"),
    ):
        assert open_network(spec).name == network_name(spec.source, spec.name)


def test_an_open_network_tells_of_its_weights_what_every_output_tells(tmp_path):
    torch.save(build_demo(5).state_dict(), tmp_path / "w.pth")
    for weights in (None, "random", str(tmp_path / "w.pth")):
        spec = ModelSpec(source="demo", weights=weights)
        assert open_network(spec).weights_note == weights_note(model_identity(spec))
    assert re.fullmatch(r"file with sha256 [0-9a-f]{16}", weights_note(model_identity(spec)))
