"""Weights, labels and code may lie in an installed package, which is found without running it."""

from pathlib import Path

import pytest
import torch

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import ModelSpec, open_network
from atlas_pipeline.models.demo_network import build_demo
from atlas_pipeline.models.named_file import named_file


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `toy_weights` that must not be imported."""
    folder = tmp_path / "toy_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('imported')")
    (folder / "models" / "labels.txt").write_text("\n".join(f"name {i}" for i in range(30)))
    (tmp_path / "outside.pth").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_weights_and_labels_in_a_package_open(package):
    torch.save(build_demo(30).state_dict(), package / "models" / "demo.pth")
    spec = ModelSpec(
        source="demo",
        weights="package:toy-weights/models/demo.pth",
        labels="package:toy_weights/models/labels.txt",
    )
    assert open_network(spec).class_names[29] == "name 29"


def test_code_in_a_package_is_located(package):
    (package / "net.py").write_text("import torch\ndef build(): return torch.nn.Conv2d(3, 4, 1)")
    assert named_file("package:toy_weights/net.py", "model.name") == package / "net.py"


def test_plain_paths_are_left_to_the_caller():
    assert named_file("~/none.pth", "model.weights") == Path("~/none.pth").expanduser()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("package:no_such_package/x.pth", "no package 'no_such_package' is installed here"),
        ("package:toy_weights/models/other.txt", "has no file 'models/other.txt'; it has: models/labels.txt"),
        ("package:toy_weights/../outside.pth", r"has no file '\.\./outside.pth'"),
        ("package:toy_weights", "must be package:NAME/path"),
        ("package:/x.pth", "must be package:NAME/path"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(package, text, said):
    with pytest.raises(ModelError, match=said) as error:
        named_file(text, "model.weights")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("model.weights 'package:")
