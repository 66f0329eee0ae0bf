"""timm networks, random and from files, with timm's preprocessing and class names. No downloads."""

import pickle
import socket
import subprocess
import sys
import urllib.request

import pytest
import timm
import torch
from huggingface_hub import constants

from atlas_pipeline.errors import ModelError, WeightsError
from atlas_pipeline.models import class_labels, feature_maps, open_network
from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.sources import timm as timm_source
from atlas_pipeline.models.spec import ModelSpec


def spec(name="test_resnet", weights="random", **options):
    return ModelSpec(source="timm", name=name, weights=weights, **options)


def test_a_random_network_is_alive_and_depends_on_the_seed_alone(timm_resnet):
    size = timm_resnet.preprocess.crop
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    assert torch.equal(open_network(spec()).logits(images), timm_resnet.logits(images))
    assert not torch.allclose(open_network(spec(seed=1)).logits(images), timm_resnet.logits(images))
    assert 0.1 < feature_maps(timm_resnet, images, ["layer4"])["layer4"].std() < 10
    assert timm_resnet.random


def test_preprocessing_is_timms(timm_resnet):
    config = timm.data.resolve_model_data_config(timm.create_model("test_resnet"))
    assert timm_resnet.preprocess.crop == config["input_size"][1]
    assert timm_resnet.preprocess.resize == int(config["input_size"][1] / config["crop_pct"])
    assert timm_resnet.preprocess.mean == tuple(config["mean"])
    assert timm_resnet.preprocess.std == tuple(config["std"])
    assert timm_resnet.preprocess.interpolation == config["interpolation"]
    assert (timm_resnet.preprocess.resize, timm_resnet.preprocess.crop) == (168, 160)
    # Another tag of the same architecture was trained with a different interpolation.
    assert open_network(spec("resnet18.tv_in1k")).preprocess.interpolation == "bilinear"


def test_weights_from_a_file(tmp_path, timm_resnet):
    with seeded(4):
        torch.save(timm.create_model("test_resnet", num_classes=7).state_dict(), tmp_path / "w.pth")
    tuned = open_network(spec(weights=str(tmp_path / "w.pth")))
    assert (tuned.num_classes, tuned.labels) == (7, None)
    assert tuned.weights_note.startswith("file with sha256 ")
    torch.save(timm_resnet.module.state_dict(), tmp_path / "own.pth")
    same = open_network(spec(weights=str(tmp_path / "own.pth")))
    images = torch.rand(1, 3, 160, 160)
    assert torch.equal(same.logits(images), timm_resnet.logits(images))
    assert len(same.labels) == same.num_classes == 1000
    with pytest.raises(ModelError, match="for timm's test_vit: the weights do not fit"):
        open_network(spec("test_vit", weights=str(tmp_path / "own.pth")))


def test_classes_are_imagenets():
    labels = class_labels(spec("resnet50"), 1000)
    assert (labels[0], labels[340]) == ("tench", "zebra")
    assert class_labels(spec("resnet50"), 10) is None


def test_timms_own_weights_are_known_by_their_tag():
    own = model_identity(spec("resnet50", weights=None))
    assert own == model_identity(spec("resnet50.a1_in1k", weights=None))
    assert own["weights"] == {"named": "resnet50.a1_in1k"}
    assert own != model_identity(spec("resnet50.tv_in1k", weights=None))
    assert own != model_identity(spec("resnet50"))
    # With random weights the tag still decides how images are prepared.
    assert model_identity(spec("resnet50.tv_in1k")) != model_identity(spec("resnet50"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", r"model 'resnet5O' is not in timm .*; nearest: 'resnet50'"),
        ("resnet50.a1_in1", r"weights 'a1_in1' is not in timm's resnet50; nearest: 'a1_in1k'"),
        ("hf-hub:timm/resnet50", r"is not in timm"),
    ],
)
@pytest.mark.parametrize("weights", [None, "random"])
def test_unknown_names(name, message, weights):
    with pytest.raises(ModelError, match=message) as caught:
        open_network(spec(name, weights))
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_names_the_way_out(monkeypatch):
    def offline(*_, pretrained=False, **__):
        raise OSError("no route to host.\nmore words")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(timm_source, "_no_address", lambda: None)
    message = (
        r"weights test_resnet.r160_in1k cannot be downloaded by timm: no route to host; .*a file .*'random'"
    )
    with pytest.raises(WeightsError, match=message) as caught:
        open_network(spec(weights=None))
    # A worker's error arrives whole.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_without_an_address_the_hub_is_asked_for_cached_files_only(monkeypatch):
    """The hub's client would repeat its requests for a minute, with two lines on stderr each time."""
    asked = []

    def create(*_, pretrained=False, **__):
        asked.append((pretrained, constants.is_offline_mode()))
        raise OSError("outgoing traffic has been disabled")

    def lookup(host, _):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example")
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(WeightsError, match=r"hub\.example: Name or service not known; set model\.weights"):
        open_network(spec(weights=None))
    assert asked == [(True, True)]
    assert not constants.is_offline_mode()
    # A proxy looks names up by itself.
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy.example"})
    with pytest.raises(WeightsError, match="outgoing traffic"):
        open_network(spec(weights=None))
    assert asked[1:] == [(True, False)]


def test_without_timm_one_line_says_what_to_install():
    program = """
import sys
sys.modules["timm"] = None
from atlas_pipeline.models import open_network, model_identity, ModelSpec
from atlas_pipeline.errors import ModelError
for ask in (open_network, model_identity):
    try:
        ask(ModelSpec(source="timm", name="resnet50"))
    except ModelError as error:
        assert "pip install" in str(error), error
        assert "timm>=" in str(error), error
        assert "\\n" not in str(error)
    else:
        raise AssertionError
model_identity(ModelSpec(source="timm", name="resnet50", weights="random"))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
