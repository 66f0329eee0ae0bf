"""Class names in a config are resolved to logits."""

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.labels import class_labels
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.views import class_names as classes
from atlas_pipeline.views.class_names import all_classes, resolved_class


@pytest.fixture
def never_opened(monkeypatch) -> None:
    def refuse(spec, device):
        raise AssertionError("a network was opened for a name")

    monkeypatch.setattr(classes, "opened_network", refuse)


@pytest.fixture
def of_model(small) -> Callable[..., Config]:
    def config(images: dict | None = None, **model: object) -> Config:
        return parse_config({**small, "model": model, "images": images or small["images"]})

    return config


@pytest.fixture
def folders(tmp_path) -> Callable[..., dict]:
    def make(*names: str) -> dict:
        for name in names:
            (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / names[0] / "one.png")
        return {"source": "folder", "path": str(tmp_path / "images")}

    return make


@pytest.mark.usefixtures("never_opened")
def test_imagenet_by_name_index_and_wordnet_id_without_opening_the_network(of_model):
    config = of_model(source="torchvision", name="googlenet", weights="random")
    for name in ("zebra", "Zebra", "340", "class 340", "n02391049"):
        assert resolved_class(config, name) == (340, "zebra")
    assert all_classes(config)[340] == (340, "zebra")
    assert len(all_classes(config)) == 1000


@pytest.mark.usefixtures("never_opened")
def test_two_cranes_are_told_apart(of_model, tmp_path):
    (tmp_path / "labels.txt").write_text("crane\nzebra\ncrane\n")
    config = of_model(source="demo", labels=str(tmp_path / "labels.txt"))
    assert all_classes(config) == [(0, "crane (class 0)"), (1, "zebra"), (2, "crane (class 2)")]
    assert resolved_class(config, "class 2") == (2, "crane (class 2)")
    with pytest.raises(ModelError, match="write 'class 0' or 'class 2'"):
        resolved_class(config, "crane")


def test_weights_of_another_head_have_other_classes(of_model, tmp_path):
    from atlas_pipeline.models.demo_network import build_demo

    torch.save(build_demo(3).state_dict(), tmp_path / "three.pt")
    config = of_model(source="demo", weights=str(tmp_path / "three.pt"))
    assert all_classes(config) == [(0, "class 0"), (1, "class 1"), (2, "class 2")]
    assert resolved_class(config, "2") == (2, "class 2")
    with pytest.raises(ModelError, match="class '3' is not in the network's 3"):
        resolved_class(config, "3")


def test_a_labels_file_that_changes_is_read_again(of_model, tmp_path):
    labels = tmp_path / "labels.txt"
    names = list(class_labels(ModelSpec(source="demo")) or ())
    labels.write_text("\n".join(names))
    config = of_model(source="demo", labels=str(labels))
    assert resolved_class(config, names[1]) == (1, names[1])
    labels.write_text("\n".join(reversed(names)))
    assert resolved_class(config, names[1]) == (len(names) - 2, names[1])


def test_the_images_own_folders_name_as_many_classes(small, of_model, folders, tmp_path):
    images = folders("drone", "eagle", "ferry", "geyser", "harp")
    named = parse_config({**small, "images": images})
    assert resolved_class(named, "Ferry") == (2, "cat")  # third folder, third logit
    assert resolved_class(named, "cat") == (2, "cat")
    (tmp_path / "images" / "iris").mkdir()
    with pytest.raises(ModelError, match="class 'iris' is not in the network's 5"):
        resolved_class(named, "iris")


def test_a_list_of_attributed_classes_may_use_every_kind_of_name(small, folders, atlas, states):
    images = folders("drone", "eagle", "ferry", "geyser", "harp")
    config = {**small, "images": images, "sample": {"attribution": ["harp", "class 1", "Dog"]}}
    assert all_classes(parse_config(config)) == [(1, "bee"), (3, "dog"), (4, "emu")]
    atlas("sample", config)
    assert states(config)["sample 4"] == "done"
