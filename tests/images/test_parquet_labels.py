"""Which column of Parquet shards holds the labels, and the message where that is ambiguous."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded, picture

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.listing import class_names, listing

RAW = [encoded(picture(i)) for i in range(3)]
NAMES = {"names": ["cat", "dog", "elk"], "_type": "ClassLabel"}


def write(file, columns, features=None):
    table = pa.table({"image": RAW, **columns})
    if features is not None:
        written = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": written})
    pq.write_table(table, file)


def labels_and_names(path, column=None):
    found = listing("parquet", str(path), None, 0, label_column=column)
    return found.images["label"].to_pylist(), class_names("parquet", str(path), column), found.remark


@pytest.mark.parametrize("column", ["label", "labels", "fine_label", "what it is"])
@pytest.mark.parametrize("names", [NAMES, {"names": {"10": "elk", "0": "cat", "2": "dog"}}])
def test_the_only_declared_column_is_taken(tmp_path, column, names):
    features = {"image": {"_type": "Image"}, column: names, "not there": NAMES}
    write(tmp_path / "x.parquet", {"id": [7, 8, 9], column: [2, 0, None]}, features)
    assert labels_and_names(tmp_path) == ([2, 0, -1], ["cat", "dog", "elk"], None)


def test_a_named_column_comes_first(tmp_path):
    fine, coarse = [2, 0, 1], [1, 0, 1]
    features = {"fine": NAMES, "coarse": {"names": ["small", "large"]}}
    columns = {"fine": fine, "coarse": coarse, "label": [0, 0, 0], "place": ["sea", "air", None]}
    write(tmp_path / "x.parquet", columns, features)
    assert labels_and_names(tmp_path, "coarse") == (coarse, ["small", "large"], None)
    assert labels_and_names(tmp_path, "fine") == (fine, NAMES["names"], None)
    assert labels_and_names(tmp_path, "place") == ([1, 0, -1], ["air", "sea"], None)
    assert labels_and_names(tmp_path) == ([0, 0, 0], None, None)
    with pytest.raises(ImagesError, match=r"'fime' is not in 'x\.parquet'; nearest: 'fine'.*label_column"):
        labels_and_names(tmp_path, "fime")


@pytest.mark.parametrize(
    ("columns", "features", "remark"),
    [
        ({"fine": [0] * 3, "coarse": [0] * 3}, {"fine": NAMES, "coarse": NAMES}, "which of fine, coarse is"),
        ({"labels": [0] * 3, "id": [1] * 3}, None, "which of labels is meant is not clear"),
        ({"class": ["a"] * 3, "target": [0.5] * 3}, {}, "which of class is meant"),
        ({"id": [0] * 3}, None, "no labels: the shards have the columns image, id"),
    ],
)
def test_labels_that_are_not_taken_are_said(tmp_path, columns, features, remark):
    write(tmp_path / "x.parquet", columns, features)
    labels, names, said = labels_and_names(tmp_path)
    assert (labels, names) == ([-1] * 3, None)
    assert said is not None
    assert remark in said
    assert "images.label_column" in said


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.int64()])
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_integers_of_any_kind_are_labels(tmp_path, kind, as_dictionary):
    column = pa.array([2, 0, None], kind)
    write(tmp_path / "x.parquet", {"label": column.dictionary_encode() if as_dictionary else column})
    assert labels_and_names(tmp_path)[0] == [2, 0, -1]


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [True, False, True], [[0], [1], [0, 1]]])
def test_labels_of_another_kind_are_refused(tmp_path, values):
    write(tmp_path / "x.parquet", {"label": values, "id": [0, 1, 2]})
    with pytest.raises(ImagesError, match=r"neither integer nor text; .* images\.label_column"):
        labels_and_names(tmp_path)
    assert labels_and_names(tmp_path, "id")[0] == [0, 1, 2]


def test_shards_that_declare_other_names_are_refused(tmp_path):
    write(tmp_path / "0.parquet", {"labels": [0] * 3}, {"labels": NAMES})
    write(tmp_path / "1.parquet", {"labels": [0] * 3}, {"labels": {"names": ["dog", "cat", "elk"]}})
    with pytest.raises(ImagesError, match=r"its label names are not those of '0\.parquet'"):
        labels_and_names(tmp_path)
