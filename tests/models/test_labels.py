"""Class names, other names for a class, and the class indices that they give."""

import pytest

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.labels import class_index, class_labels, wordnet_ids
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
    with pytest.raises(ModelError, match=r"names 3 classes, but the network has 5.* none for class 3 to 4"):
        class_labels(spec, 5)
    with pytest.raises(
        ModelError, match=r"names 3 classes, but the network has 1.*from 'two' on they have none"
    ):
        class_labels(spec, 1)
    file.write_text("\n".join(f"thing {i}." for i in range(1000)))
    with pytest.raises(ModelError, match=r"has 1001; .*TensorFlow's.*put a line 'background' first"):
        class_labels(spec, 1001)
    file.write_text("background\ntwo\nthree\n")
    with pytest.raises(ModelError, match="leave out 'background', the first name"):
        class_labels(spec, 2)
    file.write_text("n01440764 1 tench\nn01443537 2 goldfish\n")
    with pytest.raises(ModelError, match="indices begin at 1, and those of the network at 0"):
        class_labels(spec, 2)
    file.unlink()
    with pytest.raises(ModelError, match=r"labels.txt' cannot be read \(No such file"):
        class_labels(spec)


def test_class_index():
    assert class_index(LABELS, "zebra") == 0
    assert class_index(LABELS, "scuba diver") == 1
    assert class_index(LABELS, "class 3") == class_index(LABELS, "3") == class_index(LABELS, "Class 3") == 3
    with pytest.raises(ModelError, match=r"class 'zebar' is not in .*nearest: 'zebra'"):
        class_index(LABELS, "zebar")
    with pytest.raises(ModelError, match="write 'class 2' or 'class 3'"):
        class_index(LABELS, "crane")
    with pytest.raises(ModelError, match=r"class 'class 4' is not in .*they are class 0 to class 3"):
        class_index(LABELS, "class 4")
    with pytest.raises(ModelError, match="class '-1' is not in"):
        class_index(LABELS, "-1")


def test_a_label_wins_over_an_index_and_case_over_no_case():
    digits = tuple("9876543210")
    assert class_index(digits, "9") == 0
    assert class_index(digits, "class 9") == 9
    assert class_index(("Polish", "polish"), "polish") == 1
    with pytest.raises(ModelError, match="of 2 classes"):
        class_index(("Polish", "polish"), "POLISH")


def test_the_likeliest_of_an_unknown_class_are_listed():
    labels = ("car", "Persian cat", "dog", "Siamese cat", "bat", "caterpillar")
    with pytest.raises(ModelError) as refused:
        class_index(labels, "cat")
    assert str(refused.value) == (
        "class 'cat' is not in the network's 6; "
        "nearest: 'Persian cat', 'Siamese cat', 'caterpillar', 'car', 'bat'"
    )


def test_a_class_by_another_name():
    def others():
        yield None
        yield ("a", "b", "c")  # ignored: not one name per class
        yield ("Gaul", "n02391049", "", "gaul")
        raise AssertionError("looked further than needed")

    assert class_index(LABELS, "n02391049", others) == 1
    assert class_index(LABELS, "Gaul", others) == 0
    assert class_index(LABELS, "zebra", others) == 0
    with pytest.raises(ModelError, match="'GAUL' is the name of 2 classes"):
        class_index(LABELS, "GAUL", others)


def test_wordnet_ids_of_imagenets_classes():
    spec = ModelSpec(source="torchvision", name="googlenet", weights="random")
    ids = wordnet_ids(spec, 1000)
    labels = class_labels(spec, 1000)
    # Expected values are from PyTorch Hub's and Keras's lists of ImageNet classes.
    for wordnet_id, index, label in [
        ("n01440764", 0, "tench"),
        ("n02391049", 340, "zebra"),
        ("n02510455", 388, "giant panda"),
        ("n04599235", 911, "wool"),
        ("n15075141", 999, "toilet tissue"),
    ]:
        assert class_index(labels, wordnet_id, lambda: [ids]) == index
        assert labels[index] == label
    assert len(set(ids)) == 1000
    assert wordnet_ids(spec, 999) is None
    with pytest.raises(ModelError, match="no class of this WordNet id"):
        class_index(labels, "n00000001", lambda: [ids])


def test_wordnet_ids_of_a_labels_file_are_its_own(tmp_path):
    file = tmp_path / "synsets.txt"
    file.write_text("n02119789 1 kit fox\nn02100735 2 English setter\n")
    spec = ModelSpec(source="inception_v1", labels=str(file))
    assert class_labels(spec, 4) == ("class 0", "kit fox", "English setter", "class 3")
    assert wordnet_ids(spec, 4) == ("", "n02119789", "n02100735", "")
    file.write_text("kit fox\nEnglish setter\n")
    assert wordnet_ids(spec, 2) is None
