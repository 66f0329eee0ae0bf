"""The registry of model sources: adding a source takes one entry, and no other code lists the names."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.engine import worker
from atlas_pipeline.errors import ConfigError, ModelError
from atlas_pipeline.models import class_labels, list_layers, model_identity, open_network
from atlas_pipeline.models.model_source import ModelSource, Opened
from atlas_pipeline.models.network_name import model_title, weights_note
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.sources import SOURCES
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.views.class_names import all_classes

CONFIG: dict[str, Any] = {"name": "run", "layers": ["0"], "images": {"source": "generated"}}


def toy_network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def toy(monkeypatch):
    source = ModelSource(
        name="toy",
        open=lambda spec: Opened(toy_network(), Preprocess().override({"crop": 16}), ("cat", "dog")),
        own_weights=lambda spec: {"named": "drawn"},
        identity=lambda spec: {"name": spec.name},
        labels=lambda spec: ("cat", "dog"),
        example="small",
    )
    monkeypatch.setitem(SOURCES, "toy", source)


def test_a_new_source_is_one_value(toy):
    spec = model_spec(parse_config({**CONFIG, "model": {"source": "toy", "name": "tiny"}}))
    identity = {"source": "toy", "weights": {"named": "drawn"}, "name": "tiny", "preprocess": None}
    assert model_identity(spec) == identity
    network = open_network(spec)
    assert (network.name, network.weights_note) == (model_title(identity), weights_note(identity))
    assert (network.name, network.weights_note) == ("tiny", "drawn")
    assert network.labels == class_labels(spec) == ("cat", "dog")
    assert network.logits(torch.rand(1, 3, 16, 16)).shape == (1, 2)
    assert [layer.name for layer in list_layers(network)] == ["0", "1"]


def test_its_classes_are_known_unopened(toy):
    config = parse_config({**CONFIG, "model": {"source": "toy", "name": "tiny"}})
    assert all_classes(config) == [(0, "cat"), (1, "dog")]


def test_the_config_asks_it_for_a_name_and_lists_it(toy):
    with pytest.raises(ConfigError, match=r"source 'toy' needs a name, e\.g\. name: small"):
        parse_config({**CONFIG, "model": {"source": "toy"}})
    with pytest.raises(ConfigError, match="'timm', 'python' or 'toy'; nearest: 'toy'"):
        parse_config({**CONFIG, "model": {"source": "tooy"}})


def test_a_source_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(ConfigError, match=r"model\.source is 'tim'; it must be 'demo', .*; nearest: 'timm'"):
        parse_config({**CONFIG, "model": {"source": "tim"}})
    for ask in (model_identity, open_network, class_labels):
        with pytest.raises(ModelError, match="model source 'tim' is not in this program; nearest: 'timm'"):
            ask(ModelSpec(source="tim"))


def test_workers_have_the_versions_of_what_builds_the_networks():
    versions = worker.own_versions()
    for source in SOURCES.values():
        assert {"torch", *source.packages} <= versions.keys()


def test_citations_take_a_note():
    for source in SOURCES.values():
        if source.citation:
            assert "{model,\n" in source.citation % "note"
            assert "note = {a note}" in source.citation % "a note"


def test_a_config_is_read_without_torch_numpy_or_pyarrow():
    program = (
        "import sys, atlas_pipeline.config.loading\n"
        "found = {'torch', 'numpy', 'pyarrow', 'torchvision', 'timm'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
