from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded, picture, write_shard

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import parquet_rows
from atlas_pipeline.images.listing import class_names, list_images, listing_stamp
from atlas_pipeline.images.row_reader import RowReader

RAW = [encoded(picture(i)) for i in range(17)]


def listed(path, num_images=None, seed=0):
    return list_images("parquet", str(path), num_images, seed)


@pytest.fixture
def shards(tmp_path):
    """Two shards with three row groups each; the last rows of the second shard have no path."""
    write_shard(tmp_path / "s/train-0.parquet", RAW[:8], [f"p{i}.png" for i in range(8)], list(range(8)))
    paths = [f"p{i}.png" for i in range(8, 14)] + [None, "", None]
    write_shard(tmp_path / "s/train-1.parquet", RAW[8:], paths, [*range(8, 15), None, -1])
    write_shard(tmp_path / "s/test-0.parquet", RAW[:1], ["t.png"], [0])
    return tmp_path / "s"


def test_files_row_groups_and_keys(shards):
    table = listed(shards / "train-*.parquet")
    assert table["key"].to_pylist()[:14] == [f"p{i}.png" for i in range(14)]
    assert table["key"].to_pylist()[14:] == [f"train-1.parquet#{row}" for row in (6, 7, 8)]
    assert table["label"].to_pylist() == [*range(15), -1, -1]
    assert table["file"].to_pylist() == ["train-0.parquet"] * 8 + ["train-1.parquet"] * 9
    assert table["row"].to_pylist() == [*range(8), *range(9)]
    assert len(set(table["digest"].to_pylist())) == 17
    assert class_names("parquet", str(shards)) is None


def test_a_folder_of_shards_and_a_single_one(shards):
    assert listed(shards)["file"].to_pylist() == [
        "test-0.parquet",
        *listed(shards / "train-*.parquet")["file"].to_pylist(),
    ]
    assert listed(shards / "test-0.parquet")["file"].to_pylist() == ["test-0.parquet"]
    nested = listed(shards.parent / "*" / "test-0.parquet")
    assert nested["file"].to_pylist() == ["s/test-0.parquet"]
    assert RowReader(shards.parent).read("s/test-0.parquet", 0) == RAW[0]


def test_a_subset(shards, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROWS_PER_READ", 2)
    every, some = listed(shards / "train-*").to_pylist(), listed(shards / "train-*", 6).to_pylist()
    by_key = {row["key"]: row for row in every}
    assert [row["image_id"] for row in some] == list(range(6))
    for row in some:
        assert row | {"image_id": by_key[row["key"]]["image_id"]} == by_key[row["key"]]
    assert [by_key[row["key"]]["image_id"] for row in some] == sorted(
        by_key[row["key"]]["image_id"] for row in some
    )


def test_rows_in_any_order(shards, monkeypatch):
    monkeypatch.setattr(parquet_rows, "ROWS_PER_READ", 2)
    table, reader = listed(shards / "train-*").to_pylist(), RowReader(shards)
    order = [*range(17), *np.random.default_rng(0).permutation(17).tolist()]
    assert [reader.read(table[i]["file"], table[i]["row"]) for i in order] == [RAW[i] for i in order]


def test_a_row_group_is_read_once_when_rows_are_asked_for_in_order(shards, monkeypatch):
    from atlas_pipeline.images import row_reader

    opened = []
    real = row_reader.image_pieces
    monkeypatch.setattr(
        row_reader,
        "image_pieces",
        lambda shard, group, column: opened.append(group) or real(shard, group, column),
    )
    reader = RowReader(shards)
    for row in (0, 2, 2, 3, 5, 7):
        reader.read("train-0.parquet", row)
    assert opened == [0, 1, 2]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(len(RAW[0]))])
@pytest.mark.parametrize("column", ["bytes", "image", "some_name"])
def test_a_plain_column_of_bytes(tmp_path, kind, column):
    try:
        pq.write_table(pa.table({"id": [1, 2], column: pa.array([RAW[0]] * 2, kind)}), tmp_path / "x.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip(f"this pyarrow writes no {kind}")
    table = listed(tmp_path)
    assert table["key"].to_pylist() == ["x.parquet#0", "x.parquet#1"]
    assert table["label"].to_pylist() == [-1, -1]
    assert RowReader(tmp_path).read("x.parquet", 1) == RAW[0]


@pytest.mark.parametrize("encode", [pa.array, lambda names: pa.array(names).dictionary_encode()])
def test_text_labels_are_numbered_by_their_sorted_names(tmp_path, encode):
    for name, text in (("0", ["dog", "cat"]), ("1", ["ant", None])):
        pq.write_table(pa.table({"image": RAW[:2], "label": encode(text)}), tmp_path / f"{name}.parquet")
    assert class_names("parquet", str(tmp_path)) == ["ant", "cat", "dog"]
    assert listed(tmp_path)["label"].to_pylist() == [2, 1, 0, -1]


def test_names_that_hugging_face_wrote(tmp_path):
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": RAW[:2], "label": [1, 0]})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "x.parquet"
    )
    assert class_names("parquet", str(tmp_path)) == ["cat", "dog"]
    assert listed(tmp_path)["label"].to_pylist() == [1, 0]


def test_a_null_image_is_read_from_its_file_or_says_where_that_is_not(tmp_path):
    write_shard(tmp_path / "x.parquet", [RAW[0], None, None], ["a.png", "b.png", None], [0, 1, 1])
    assert listed(tmp_path)["key"].to_pylist() == ["a.png", "b.png", "x.parquet#2"]
    reader = RowReader(tmp_path)
    with pytest.raises(ImagesError, match=r"no bytes, and there is no file 'b\.png' below"):
        reader.read("x.parquet", 1)
    (tmp_path / "b.png").write_bytes(RAW[3])
    assert [reader.read("x.parquet", row) for row in (0, 1)] == [RAW[0], RAW[3]]
    with pytest.raises(ImagesError, match="neither bytes nor a path"):
        reader.read("x.parquet", 2)


def test_the_stamp(shards):
    pattern = str(shards / "train-*")
    before = listing_stamp("parquet", pattern)
    shards.rename(shards.parent / "t")
    moved = str(shards.parent / "t" / "train-*")
    assert listing_stamp("parquet", moved) == before
    os.utime(shards.parent / "t" / "train-1.parquet", ns=(1, 1))
    assert listing_stamp("parquet", moved) != before


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"imgae": ["u"], "label": [0]},
            "'image' is not in 'x.parquet'; nearest: 'imgae'.*its columns: imgae .string., label",
        ),
        ({"image": ["a.png"]}, "'image' of 'x.parquet' does not hold bytes"),
        ({"images": [[{"bytes": b"1"}]]}, "its columns: images .list of struct."),
        ({"left": [b"1"], "right": [b"2"]}, "left, right of 'x.parquet' all hold bytes; rename"),
        ({"image": [b"1"], "label": [0.5]}, "'label' of 'x.parquet' is double, neither integer nor text"),
        (
            {"image": [b"1"], "label": [2**40]},
            "label 1099511627776 of image 'x.parquet#0' .* out of range",
        ),
        (
            {"image": [b"1"], "label": pa.array([2**64 - 1], pa.uint64())},
            "'label' of 'x.parquet' has a label that is no class",
        ),
        ({"image": pa.array([], pa.binary())}, "have no rows"),
    ],
)
def test_mistakes_in_a_shard(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(ImagesError, match=message) as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_mistakes_about_the_path(tmp_path):
    with pytest.raises(ImagesError, match="does not exist"):
        listed(tmp_path / "nowhere")
    with pytest.raises(ImagesError, match="matches no file"):
        listed(tmp_path / "*.parquet")
    with pytest.raises(ImagesError, match=r"has no \.parquet file below it"):
        listing_stamp("parquet", str(tmp_path))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-200], lambda whole: b"words", lambda whole: b""])
def test_a_shard_that_is_not_whole_is_named(shards, damage):
    file = shards / "train-1.parquet"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        ImagesError, match=r"shard '.*train-1\.parquet' cannot be read \(.*\); copy it anew"
    ) as caught:
        listed(shards)
    assert "\n" not in str(caught.value)


def test_broken_pages_of_images_are_bad_images(tmp_path):
    write_shard(tmp_path / "x.parquet", RAW[:8], [None] * 8, list(range(8)))
    whole = bytearray((tmp_path / "x.parquet").read_bytes())
    whole[4:400] = bytes(396)
    (tmp_path / "x.parquet").write_bytes(whole)
    assert listed(tmp_path).num_rows == 8
    with pytest.raises(ImagesError, match=r"x\.parquet' cannot be read"):
        RowReader(tmp_path).read("x.parquet", 0)


def test_the_digest_is_that_of_what_is_stored_not_of_where(tmp_path):
    write_shard(tmp_path / "a/x.parquet", RAW[:8], [None] * 8, list(range(8)))
    write_shard(tmp_path / "b/other.parquet", RAW[:8], [None] * 8, list(range(8)))
    before = listed(tmp_path / "a")["digest"]
    assert listed(tmp_path / "b")["digest"] == before
    changed = [*RAW[:4], RAW[9], *RAW[5:8]]
    write_shard(tmp_path / "b/other.parquet", changed, [None] * 8, list(range(8)))
    same = [a == b for a, b in zip(listed(tmp_path / "b")["digest"], before, strict=True)]
    assert same == [True] * 3 + [False] * 3 + [True] * 2  # the digest covers a row group


def test_a_path_that_is_there_twice_gives_way_to_the_row(tmp_path):
    write_shard(tmp_path / "0.parquet", RAW[:3], ["a.png", "b.png", "c.png"], [0] * 3)
    write_shard(tmp_path / "1.parquet", RAW[3:6], ["b.png", "d.png", "d.png"], [0] * 3)
    keys = ["a.png", "0.parquet#1", "c.png", "1.parquet#0", "1.parquet#1", "1.parquet#2"]
    assert listed(tmp_path)["key"].to_pylist() == keys
    # A subset gives its images the same keys.
    assert set(listed(tmp_path, 4)["key"].to_pylist()) < set(keys)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": RAW[:2]}, "it has image 'image', path -, label -; '0.parquet' has .* label label"),
        ({"img": RAW[:2], "label": [0, 1]}, "it has image 'img', path -, label label; "),
        ({"image": RAW[:2], "label": ["a", "b"]}, r"label label \(text\); "),
    ],
)
def test_a_shard_with_another_schema_is_named(tmp_path, columns, message):
    for name in ("0", "2"):
        pq.write_table(pa.table({"image": RAW[:2], "label": [0, 1]}), tmp_path / f"{name}.parquet")
    pq.write_table(pa.table(columns), tmp_path / "1.parquet")
    with pytest.raises(
        ImagesError, match=rf"'1\.parquet' does not go with the others: .*{message}"
    ) as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("label", [-2, 2, 2**32])
def test_a_label_out_of_range_is_named(tmp_path, label):
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table({"image": RAW[:3], "label": [-1, 1, label]})
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "x.parquet"
    )
    with pytest.raises(ImagesError, match=rf"label {label} of image 'x\.parquet#2' \('x.parquet', row 2\)"):
        listed(tmp_path)
