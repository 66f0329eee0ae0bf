from __future__ import annotations

import hashlib
import os
import shutil

import numpy as np
import pytest
from making import write_files

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.index_table import index_schema, subset
from atlas_pipeline.images.listing import class_names, list_images, listing_stamp

NAMES = ["b/2.png", "b/10.PNG", "a b/1.png", "a/z.jpeg", "a/deep/er/1.webp", "top.png"]


def listed(path, num_images=None, seed=0):
    return list_images("folder", str(path), num_images, seed)


def test_columns_order_labels_and_digests(tmp_path):
    files = dict(zip(NAMES, write_files(tmp_path, NAMES), strict=True))
    table = listed(tmp_path)
    keys = table["key"].to_pylist()
    assert table.schema == index_schema()
    # Keys sort by path component: 'a' comes before 'a b', whereas plain strings would put 'a b/...' first.
    assert keys == ["a/deep/er/1.webp", "a/z.jpeg", "a b/1.png", "b/10.PNG", "b/2.png", "top.png"]
    assert table["image_id"].to_pylist() == list(range(6))
    assert table["label"].to_pylist() == [0, 0, 1, 2, 2, -1]
    assert class_names("folder", str(tmp_path)) == ["a", "a b", "b"]
    assert table["file"].to_pylist() == keys
    assert table["row"].to_pylist() == [-1] * 6
    sized = [len(files[key]).to_bytes(8, "little") + files[key] for key in keys]
    assert table["digest"].to_pylist() == [hashlib.blake2b(b, digest_size=16).hexdigest() for b in sized]


def test_without_sub_folders_there_are_no_classes(tmp_path):
    write_files(tmp_path, ["1.png", "2.png"])
    assert listed(tmp_path)["label"].to_pylist() == [-1, -1]
    assert class_names("folder", str(tmp_path)) is None


def test_an_empty_class_keeps_its_number(tmp_path):
    write_files(tmp_path, ["a/1.png", "c/1.png"])
    (tmp_path / "b").mkdir()
    assert listed(tmp_path)["label"].to_pylist() == [0, 2]
    assert class_names("folder", str(tmp_path)) == ["a", "b", "c"]


def test_hidden_and_other_files_are_left_out(tmp_path):
    write_files(tmp_path, ["1.png", ".2.png", ".cache/3.png", "a/.4.png"])
    for name in ("notes.txt", "png", "a.png.part"):
        (tmp_path / name).write_text("no image")
    assert listed(tmp_path)["key"].to_pylist() == ["1.png"]
    assert class_names("folder", str(tmp_path)) == ["a"]


def test_links_are_followed_once(tmp_path):
    write_files(tmp_path, ["images/real/1.png", "elsewhere/2.png"])
    (tmp_path / "images/real/circle").symlink_to(tmp_path / "images")
    (tmp_path / "images/alias").symlink_to(tmp_path / "images/real")
    (tmp_path / "images/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images/one.png").symlink_to(tmp_path / "elsewhere/2.png")
    (tmp_path / "images/dangling.png").symlink_to(tmp_path / "nowhere.png")
    assert listed(tmp_path / "images")["key"].to_pylist() == ["linked/2.png", "one.png", "real/1.png"]


def test_a_subset_is_in_order_numbered_anew_and_drawn_by_the_seed(tmp_path):
    write_files(tmp_path, [f"{i:02}.png" for i in range(30)])
    every, some = listed(tmp_path), listed(tmp_path, 10)
    assert some["image_id"].to_pylist() == list(range(10))
    assert some["key"].to_pylist() == sorted(some["key"].to_pylist())
    rows = set(zip(every["key"].to_pylist(), every["digest"].to_pylist(), strict=True))
    assert set(zip(some["key"].to_pylist(), some["digest"].to_pylist(), strict=True)) < rows
    assert listed(tmp_path, 10) == some
    assert listed(tmp_path, 10, seed=1)["key"] != some["key"]
    assert set(some["key"].to_pylist()) < set(listed(tmp_path, 20)["key"].to_pylist())
    assert listed(tmp_path, 31) == every


def test_subsets_are_uniform():
    times = np.zeros(20)
    for seed in range(2000):
        chosen = subset(20, 5, seed)
        assert len(set(chosen.tolist())) == 5
        times[chosen] += 1
    assert np.abs(times / 2000 - 0.25).max() < 0.05


def test_a_subset_is_the_same_for_ever():
    assert subset(1000, 5, seed=0).tolist() == [130, 215, 616, 750, 814]


def test_digests_and_stamp_do_not_hang_on_where_the_folder_is(tmp_path):
    write_files(tmp_path / "old", NAMES)
    before, stamp = listed(tmp_path / "old"), listing_stamp("folder", str(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    assert listed(tmp_path / "new") == before
    assert listing_stamp("folder", str(tmp_path / "new")) == stamp
    shutil.copytree(tmp_path / "new", tmp_path / "copied")
    assert listed(tmp_path / "copied")["digest"] == before["digest"]


def test_the_stamp_changes_with_any_file(tmp_path):
    write_files(tmp_path, ["a/1.png", "a/2.png"])
    stamps = [listing_stamp("folder", str(tmp_path))]

    def changed() -> bool:
        stamps.append(listing_stamp("folder", str(tmp_path)))
        return stamps[-1] not in stamps[:-1]

    assert listing_stamp("folder", str(tmp_path)) == stamps[0]
    os.utime(tmp_path / "a/1.png", ns=(1, 1))
    assert changed()
    with open(tmp_path / "a/1.png", "ab") as file:
        file.write(b"more")
    os.utime(tmp_path / "a/1.png", ns=(1, 1))
    assert changed()
    (tmp_path / "a/2.png").rename(tmp_path / "a/3.png")
    assert changed()
    shutil.copy2(tmp_path / "a/3.png", tmp_path / "a/4.png")
    assert changed()
    (tmp_path / "a/3.png").unlink()
    assert changed()
    (tmp_path / "b").mkdir()  # a new class folder may change the other classes' indices
    assert changed()
    (tmp_path / "notes.txt").write_text("counted, not listed")
    assert changed()
    (tmp_path / "notes.txt").write_text("counted as before")
    assert not changed()
    (tmp_path / "unknown").write_text("might be an image")
    assert changed()
    (tmp_path / "unknown").write_text("might be another image")
    assert changed()


@pytest.mark.parametrize("call", [listed, lambda path: listing_stamp("folder", str(path))])
def test_mistakes_about_the_folder(tmp_path, call):
    with pytest.raises(ImagesError, match=r"'.*/nowhere' does not exist; correct images\.path"):
        call(tmp_path / "nowhere")
    with pytest.raises(ImagesError, match="no images below"):
        call(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"")
    with pytest.raises(ImagesError, match=r"set images\.source: parquet"):
        call(tmp_path)
    with pytest.raises(ImagesError, match=r"is a file, and images\.source 'folder' wants a folder"):
        call(tmp_path / "x.parquet")


def test_mistakes_name_the_source_that_fits(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"")
    with pytest.raises(ImagesError, match="it holds compressed files: unpack them"):
        list_images("tar", str(tmp_path), None, 0)
    write_files(tmp_path, ["1.png", "2.png"])
    for source in ("tar", "parquet"):
        with pytest.raises(ImagesError, match=r"it holds 2 images: set images\.source: folder"):
            list_images(source, str(tmp_path), None, 0)


def test_a_name_that_is_not_utf_8(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system knows UTF-8 names only")
    with pytest.raises(ImagesError, match="is not UTF-8; rename it"):
        listed(tmp_path)


def test_an_unknown_source():
    with pytest.raises(ImagesError, match="not one of generated, folder, parquet, tar"):
        list_images("zip", None, None, 0)
