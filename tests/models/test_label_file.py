"""Files of class names are read in the formats that users have."""

import numpy as np
import pytest

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.label_file import parse_names, read_label_file
from atlas_pipeline.models.labels import class_index, class_labels, wordnet_ids
from atlas_pipeline.models.spec import ModelSpec

ANIMALS = ("ant", "bee", "cat")
SYNSETS = "n02066245 2 whale\nn02119789 0 kit fox\nn02100735 1 setter\n"


def labels(tmp_path, name, text, encoding="utf-8"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return class_labels(ModelSpec(source="inception_v1", labels=str(tmp_path / name)), 3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "ant\nbee\ncat"),
        ("l.txt", "ant\r\nbee \r\n cat\r\n\r\n\r\n"),
        ("l.txt", "0 ant\n1 bee\n2 cat\n"),
        ("l.txt", "1: bee\n0: ant\n2: cat\n"),
        ("l.txt", "0\tant\n1\tbee\n2\tcat\n"),
        ("l.txt", "{0: 'ant',\n 1: 'bee', 2: \"cat\"}\n"),
        ("l.txt", "['ant', 'bee', 'cat']"),
        ("l.txt", '{"2": "cat", "0": "ant", "1": "bee"}'),
        ("l.json", '["ant", "bee", "cat"]'),
        ("l.json", '{"2": "cat", "0": "ant", "1": "bee"}'),
        ("l.json", '{"ant": 0, "cat": 2, "bee": 1}'),
        ("config.json", '{"hidden": 3, "id2label": {"1": "bee", "0": "ant", "2": "cat"}, "label2id": {}}'),
        ("l.json", '{"label2id": {"bee": 1, "ant": 0, "cat": 2}}'),
        ("l.json", '{"class_to_idx": {"bee": "1", "ant": "0", "cat": "2"}}'),
        ("l.json", '{"classes": ["ant", "bee", "cat"]}'),
        ("l.json", '[["n02219486", "ant"], ["n02206856", "bee"], ["n02121620", "cat"]]'),
        ("l.json", '[[1, "bee"], [0, "ant"], [2, "cat"]]'),
        ("l.json", '{"0": ["n02219486", "ant"], "1": ["n02206856", "bee"], "2": ["n02121620", "cat"]}'),
        ("l.json", '{"n02219486": "ant", "n02206856": "bee", "n02121620": "cat"}'),
        ("l.json", '[{"id": 2, "name": "cat"}, {"id": 0, "name": "ant"}, {"id": 1, "name": "bee"}]'),
        ("data.yaml", "nc: 3\nnames:\n  0: ant\n  1: bee\n  2: cat\n"),
        ("data.yml", "nc: 3\nnames: [ant, bee, cat]\n"),
        ("l.csv", "index,name\n2,cat\n0,ant\n1,bee\n"),
        ("l.csv", "Class,Name,Note\n2,cat,x\n0,ant,y\n1,bee,z\n"),
        ("l.csv", "label\nant\nbee\ncat\n"),
        ("l.csv", "2,cat\n0,ant\n1,bee\n"),
        ("l.csv", "ant\nbee\ncat\n"),
        ("l.tsv", "id\tname\n1\tbee\n0\tant\n2\tcat\n"),
        ("synsets.txt", "n02219486 ant\nn02206856 bee\nn02121620 cat\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_names_by_index(tmp_path, name, text, encoding):
    assert labels(tmp_path, name, text, encoding) == ANIMALS


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("3 stooges\n7 dwarfs\ncat\n", ("3 stooges", "7 dwarfs", "cat")),
        ("0\n1\n2\n", ("0", "1", "2")),
        ("tench, Tinca tinca\ncat\ndog\n", ("tench, Tinca tinca", "cat", "dog")),
        ("{0: 'tench, Tinca tinca', 1: 'cat', 2: 'dog'}", ("tench, Tinca tinca", "cat", "dog")),
        ("crane\ncrane\nÄmse\n", ("crane", "crane", "Ämse")),
        (SYNSETS, ("kit fox", "setter", "whale")),
    ],
)
def test_lines_stay_names(tmp_path, text, names):
    assert labels(tmp_path, "l.txt", text) == names


def test_a_byte_order_mark_belongs_to_no_name(tmp_path):
    names = labels(tmp_path, "l.txt", "ant\nbee\ncat\n", "utf-8-sig")
    assert class_index(names, "ant") == 0
    assert labels(tmp_path, "l.txt", SYNSETS, "utf-8-sig") == ("kit fox", "setter", "whale")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "n02219486 ant\nn02206856 bee\nn02121620 cat\n"),
        ("l.json", '{"0": ["n02219486", "ant"], "1": ["n02206856", "bee"], "2": ["n02121620", "cat"]}'),
    ],
)
def test_wordnet_ids_of_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    spec = ModelSpec(source="inception_v1", labels=str(tmp_path / name))
    assert wordnet_ids(spec, 3) == ("n02219486", "n02206856", "n02121620")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "", "is empty"),
        ("l.txt", "ant\n\ncat\n", "empty line, line 2"),
        ("l.txt", "ant\nkäfer\n".encode("latin-1"), r"not UTF-8 text \(line 2\); save it as UTF-8"),
        ("l.txt", "ant\nbee\n".encode("utf-16-le"), "UTF-16 without its mark"),
        ("l.txt", "1 ant\n2 bee\n3 cat\n", "counts its 3 classes from 1"),
        ("l.txt", "n02219486 0 ant\nn02206856 0 bee\n", "2 lines for 1 indices"),
        ("l.txt", "{ant bee}", "neither JSON nor a Python dict"),
        ("l.json", "{", "is not JSON"),
        ("l.json", '"ant"', "is str, which has no order"),
        ("l.json", '{"0": "ant", "0": "bee"}', "'0' comes twice"),
        ("l.json", '{"0": "ant", "3": "bee"}', "2 classes up to class 3, but not class 1, 2"),
        ("l.json", '{"0": "ant", "3000000000": "bee"}', "but not class 1, 2, 3, ..."),
        ("l.json", '{"ant": 1, "bee": 1}', "class 1 twice: 'ant' and 'bee'"),
        ("l.json", '{"0": "ant", "x": "bee"}', "mapping with the key 'x'"),
        ("l.json", '{"0": "ant", "1": null}', "class 1 has no name"),
        ("l.json", '[["a", "b"]]', "which is no name"),
        ("l.json", "[]", "names no class"),
        ("l.yaml", "names: [yes, no]", "class 0 reads as True, not as a name; put it in quotes"),
        ("l.yaml", "names: [ant", "is not YAML"),
        ("l.csv", "a,b,c\n1,2,3\n", "3 columns without a header"),
        ("l.csv", "0,tench, Tinca tinca\n1,cat\n", "rows of 3 columns and of others"),
    ],
)
def test_files_that_are_no_names_by_index(tmp_path, name, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        labels(tmp_path, name, text)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {1: "bee", 0: "ant"},
        {"1": "bee", "0": "ant"},
        {np.int64(1): np.str_("bee"), np.int64(0): "ant"},
        {"bee": 1, "ant": np.int64(0)},
        np.array(["ant", "bee"]),
        (name for name in ("ant", "bee")),
        {"ant": None, "bee": None}.keys(),
    ],
)
def test_labels_of_a_python_module(value):
    assert parse_names(value, "LABELS").names == {0: "ant", 1: "bee"}


@pytest.mark.parametrize("value", [{"ant", "bee"}, "ant bee", 3])
def test_labels_without_an_order_are_refused(value):
    with pytest.raises(ModelError, match=r"LABELS is .*, which has no order"):
        parse_names(value, "LABELS")


def test_names_of_a_folder_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "l.txt").write_text("ant\n")
    assert read_label_file("~/l.txt").names == {0: "ant"}
