"""The names of the images' labels, as viewer and figures show them."""

import pytest

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.config.run_settings import run_settings
from atlas_pipeline.views.class_names import names_of_labels


@pytest.fixture
def names(tmp_path):
    """The names of folders of images, for a network."""

    def named(*folders, model=None):
        for folder in folders:
            (tmp_path / folder).mkdir(exist_ok=True)
        config = {
            "name": "small",
            "model": model or {"source": "torchvision", "name": "resnet18", "weights": "random"},
            "images": {"source": "folder", "path": str(tmp_path)},
            "layers": ["layer4"],
        }
        return list(names_of_labels(run_settings(parse_config(config)), len(folders) - 1))

    return named


def test_wordnet_ids_become_the_networks_names(names):
    assert names("mine", "n02102040", "n03445777") == ["mine", "English springer", "golf ball"]


def test_names_that_several_classes_share_keep_their_index(names, tmp_path):
    cranes = ["crane" if index in (134, 517) else f"thing {index}" for index in range(1000)]
    (tmp_path / "labels.txt").write_text("\n".join(cranes))
    model = {"source": "torchvision", "name": "resnet18", "weights": "random"}
    model["labels"] = str(tmp_path / "labels.txt")
    assert names("n02012849", "n03126707", model=model) == ["crane (class 134)", "crane (class 517)"]


def test_an_id_that_no_class_has_stays(names):
    assert names("n99999999") == ["n99999999"]


def test_no_two_folders_get_one_name(names):
    assert names("Golf ball", "n03445777") == ["Golf ball", "golf ball (n03445777)"]


def test_a_network_of_other_classes_leaves_ids_alone(names):
    assert names("n02102040", model={"source": "demo"}) == ["n02102040"]
