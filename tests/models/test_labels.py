"""Class names and their indices."""

import pytest

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.labels import class_index, class_labels
from atlas_pipeline.models.preprocess import Preprocess
from atlas_pipeline.models.spec import ModelSpec

LABELS = ("zebra", "Scuba diver", "crane", "crane")


def test_torchvision_names_its_classes():
    labels = class_labels(ModelSpec(source="torchvision", name="googlenet", weights="random"), 1000)
    assert labels is not None
    assert labels[340] == "zebra"
    assert class_labels(ModelSpec(source="torchvision", name="googlenet", weights="random"), 10) is None


def test_a_labels_file(tmp_path):
    file = tmp_path / "labels.txt"
    spec = ModelSpec(source="torchvision", name="resnet18", labels=str(file))
    file.write_text("one\n two \nthree\n\n")
    assert class_labels(spec) == ("one", "two", "three")
    with pytest.raises(ModelError, match="names 3 classes, but the network has 5"):
        class_labels(spec, 5)
    file.write_text("one\n\nthree\n")
    with pytest.raises(ModelError, match="empty line"):
        class_labels(spec)
    file.unlink()
    with pytest.raises(ModelError, match=r"labels.txt' cannot be read \(No such file"):
        class_labels(spec)


def test_class_index():
    assert class_index(LABELS, "zebra") == 0
    assert class_index(LABELS, "scuba diver") == 1
    assert class_index(LABELS, "class 3") == 3
    with pytest.raises(ModelError, match=r"class 'zebar' is not in .*nearest: 'zebra'"):
        class_index(LABELS, "zebar")
    with pytest.raises(ModelError, match="write 'class 2' or 'class 3'"):
        class_index(LABELS, "crane")
    with pytest.raises(ModelError, match="class 'class 4' is not in"):
        class_index(LABELS, "class 4")


def test_preprocess_overrides():
    assert Preprocess().override({"crop": 32, "mean": [0, 0, 0]}).mean == (0.0, 0.0, 0.0)
    assert Preprocess().override({"resize": None}).resize is None
    for wrong, message in (
        ({"croop": 1}, "nearest: 'crop'"),
        ({"crop": 0}, "above 0"),
        ({"crop": None}, "above 0"),
        ({"mean": 0.5}, "three numbers"),
        ({"std": [0, 1, 1]}, "above 0"),
        ({"interpolation": "cubic"}, "nearest: 'bicubic'"),
    ):
        with pytest.raises(ModelError, match=message):
            Preprocess().override(wrong)
