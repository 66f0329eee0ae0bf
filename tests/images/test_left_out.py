"""Images, companions and left-out files add up to the total in folders, tar and Parquet shards."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import encoded, picture, write_files, write_shard, write_tar

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.formats import format_of
from atlas_pipeline.images.index_table import Listing
from atlas_pipeline.images.left_out import LeftOut, left_out_line
from atlas_pipeline.images.listing import listing

RAW = [encoded(picture(i)) for i in range(3)]
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
MP4 = b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(99)


def zip_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("1.png", RAW[0])
    return out.getvalue()


def tar_file(tmp_path: Path) -> bytes:
    write_tar(tmp_path / "inner.tar", {"1.png": RAW[0]})
    raw = (tmp_path / "inner.tar").read_bytes()
    (tmp_path / "inner.tar").unlink()
    return raw


def total(found: Listing) -> int:
    notes = found.notes()
    others = sum(group["num"] for group in notes["left_out"])
    return notes["num_found"] + sum(notes["companions"].values()) + others


def reasons(found: Listing) -> dict[str, int]:
    return {group["reason"]: group["num"] for group in found.notes()["left_out"]}


# Maps name -> (bytes, outcome); the outcome is "image", "companion" or the reason for leaving the file out.
def zoo(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    return {
        "1.png": (RAW[0], "image"),
        "2.JPG": (encoded(picture(1), "JPEG"), "image"),
        "3.jfif": (encoded(picture(1), "JPEG"), "image"),
        "4.jpe": (encoded(picture(1), "JPEG"), "image"),
        "5.avif": (encoded(picture(1), "AVIF"), "image"),
        "6.jp2": (encoded(picture(1), "JPEG2000"), "image"),
        "7": (encoded(picture(1), "GIF"), "image"),
        "8.jpg_large": (encoded(picture(1), "JPEG"), "image"),
        "9.heic": (RAW[1], "image"),
        "10.png": (b"", "image"),
        "11.jpg": (b"words", "image"),
        "12.heic": (HEIC, "HEIC, which is not read"),
        "13.mp4": (MP4, "video (MP4 or MOV), which is not read"),
        "14.nef": (encoded(picture(1), "TIFF"), "camera raw, which is not read"),
        "15": (b"II*\0\x10\0\0\0CR\2\0", "camera raw, which is not read"),
        "16.zip": (zip_file(), "zip archive, not unpacked"),
        "17.dat": (tar_file(tmp_path), "tar archive, not unpacked"),
        "18.bin": (b"\1\2\3", "no image (.bin)"),
        "19": (b"\1\2\3", "no image"),
        "20.foo": (b"", "empty and no image by name"),
        "21.img": (b"<html>not found</html>", "HTML page, which is not read"),
        "22.svg": (b"<svg xmlns='x'/>", "SVG, which is not read"),
        "23.exif": (b"BM, words that start as a bitmap does", "no image (.exif)"),
        "23.png~": (RAW[1], "unfinished download or old copy, by its name"),
        "23.jpg.part": (RAW[1], "unfinished download or old copy, by its name"),
        "24.json": (b"{}", "companion"),
        "25.txt": (b"a caption", "companion"),
        "Thumbs.db": (b"\1", "companion"),
        ".DS_Store": (b"\1", "companion"),
        "._1.png": (b"\1", "companion"),
        "README": (b"words", "companion"),
    }


def expected_reasons(files: dict[str, tuple[bytes, str]]) -> dict[str, int]:
    every = [what for _, what in files.values() if what not in ("image", "companion")]
    return {what: every.count(what) for what in every}


def images_of(files: dict[str, tuple[bytes, str]]) -> set[str]:
    return {name for name, (_, what) in files.items() if what == "image"}


def test_every_file_of_a_folder_is_an_image_a_companion_or_named(tmp_path):
    files = zoo(tmp_path)
    for name, (raw, _) in files.items():
        (tmp_path / name).write_bytes(raw)
    found = listing("folder", str(tmp_path), None, 0)
    assert set(found.images["key"].to_pylist()) == images_of(files)
    assert reasons(found) == expected_reasons(files)
    assert total(found) == len(files)
    assert found.notes()["companions"] == {
        "hidden": 2, ".json": 1, ".txt": 1, "readme": 1, "thumbs.db": 1,
    }  # fmt: skip


def test_every_member_of_a_tar_is_an_image_a_companion_or_named(tmp_path):
    files = zoo(tmp_path)
    write_tar(tmp_path / "x.tar", {name: raw for name, (raw, _) in files.items()})
    found = listing("tar", str(tmp_path / "x.tar"), None, 0)
    assert set(found.images["key"].to_pylist()) == {f"x.tar/{name}" for name in images_of(files)}
    assert reasons(found) == expected_reasons(files)
    assert total(found) == len(files)


def test_what_is_no_plain_file_is_named(tmp_path):
    write_files(tmp_path, ["real/1.png", "x.jpg/2.png"])  # a folder with an image's name
    os.link(tmp_path / "real/1.png", tmp_path / "real/hard.png")
    for name, target in (("soft.png", "1.png"), ("lost.png", "nowhere.png"), ("circle.png", "circle.png")):
        (tmp_path / "real" / name).symlink_to(target)
    os.mkfifo(tmp_path / "real/pipe.png")
    found = listing("folder", str(tmp_path), None, 0)
    assert found.images["key"].to_pylist() == ["real/1.png", "real/hard.png", "real/soft.png", "x.jpg/2.png"]
    assert len(set(found.images["digest"].to_pylist()[:3])) == 1
    named = {name for group in found.notes()["left_out"] for name in group["names"]}
    assert named == {"real/lost.png", "real/circle.png", "real/pipe.png"}
    assert total(found) == 7


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    write_files(tmp_path, ["1.png"])
    (tmp_path / "unknown").write_bytes(RAW[1])
    real = os.open

    def refusing(file, *args):
        if str(file).endswith("unknown"):
            raise PermissionError(errno.EACCES, "Permission denied")  # simulated: root may read everything
        return real(file, *args)

    monkeypatch.setattr(os, "open", refusing)
    assert reasons(listing("folder", str(tmp_path), None, 0)) == {"unreadable (Permission denied)": 1}


def test_a_name_that_is_not_utf_8_can_be_counted(tmp_path):
    write_files(tmp_path, ["1.png"])
    try:
        (tmp_path / os.fsdecode(b"\xff.bin")).write_bytes(b"\1")
    except OSError:
        pytest.skip("this file system knows UTF-8 names only")
    (group,) = listing("folder", str(tmp_path), None, 0).notes()["left_out"]
    assert group["names"] == ["\\udcff.bin"]


@pytest.mark.parametrize("source", ["tar", "parquet"])
def test_files_beside_shards_are_named(tmp_path, source):
    if source == "tar":
        write_tar(tmp_path / "a.tar", {"1.png": RAW[0], "2.png": RAW[1]})
    else:
        write_shard(tmp_path / "a.parquet", RAW[:2], [None] * 2, [0, 1])
    others = ["b.tar.gz", "c.tgz", "1.jpg", "d.bin", "e", "sizes.json", "README.md", ".cache"]
    for name in others:
        (tmp_path / name).write_bytes(b"\1")
    found = listing(source, str(tmp_path), None, 0)
    assert reasons(found) == {
        "compressed file beside the shards, not unpacked": 2,
        "image beside the shards": 1,
        "no shard": 1,
        "no shard (.bin)": 1,
    }
    assert found.notes()["companions"] == {".json": 1, ".md": 1, "hidden": 1}
    assert total(found) == 2 + len(others)


def test_a_shard_without_images_is_named(tmp_path):
    write_tar(tmp_path / "t/a.tar", {"1.png": RAW[0]})
    write_tar(tmp_path / "t/b.tar", {})
    write_shard(tmp_path / "p/a.parquet", RAW[:1], [None], [0])
    write_shard(tmp_path / "p/b.parquet", [], [], pa.array([], pa.int64()))
    assert reasons(listing("tar", str(tmp_path / "t"), None, 0)) == {"shard without images": 1}
    assert reasons(listing("parquet", str(tmp_path / "p"), None, 0)) == {"shard without rows": 1}


def test_a_subset_counts_all_that_there_is(tmp_path):
    write_files(tmp_path, [f"{i}.png" for i in range(9)])
    found = listing("folder", str(tmp_path), 3, 0)
    assert (found.images.num_rows, found.notes()["num_found"], total(found)) == (3, 9, 9)


def test_what_a_folder_without_images_holds_is_said(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.heic").write_bytes(HEIC)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ImagesError, match=r"it holds 3 HEIC, which is not read, 1 \.json; correct"):
        listing("folder", str(tmp_path), None, 0)


words = st.sampled_from(["1", "img", "2020", "a b", "", "seg", "v1"])
extensions = st.sampled_from(["jpg", "PNG", "cls", "txt", "bin", "npy", "tar", ""])
names = st.builds(
    lambda folder, words, extension: folder + ".".join([*words, extension]).rstrip("./"),
    st.sampled_from(["", "./", "d/", "d.e/"]),
    st.lists(words, min_size=1, max_size=3),
    extensions,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        names.filter(lambda name: name.rpartition("/")[2] not in ("", ".", "..")), min_size=1, max_size=8
    )
)
def test_members_add_up_whatever_their_names(members):
    with tempfile.TemporaryDirectory() as folder, tarfile.open(f"{folder}/x.tar", "w") as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"1"))
        archive.close()
        found, refusal = None, ""
        try:
            found = listing("tar", folder, None, 0)
        except ImagesError as error:
            refusal = str(error)
        if found is None:
            assert "in two places" in refusal or "no images" in refusal
        else:
            assert total(found) == len(members)
            assert len(set(found.images["key"].to_pylist())) == found.images.num_rows


def test_names_are_few_and_the_first():
    left_out = LeftOut()
    for i in range(30):
        left_out.other("no image", f"{i:02}")
    for i in range(100):
        left_out.other(f"kind {i}", "x")
        left_out.companion(f"kind {i}")
    more = LeftOut()
    more.other("no image", "last")
    left_out.add(more)
    notes = left_out.notes()
    assert notes["left_out"][1] == {"reason": "no image", "num": 31, "names": [f"{i:02}" for i in range(10)]}
    assert sum(group["num"] for group in notes["left_out"]) == 131
    assert (len(notes["left_out"]), len(notes["companions"])) == (41, 41)
    assert sum(notes["companions"].values()) == 100


def test_the_line_says_how_many_and_why():
    left_out = LeftOut()
    left_out.companion(".json")
    assert left_out_line(left_out.notes()) is None
    left_out.other("HEIC, which is not read", "a/1.heic")
    assert left_out_line(left_out.notes()) == (
        "1 entry of images.path left out: 1 HEIC, which is not read ('a/1.heic'); not counting 1 companion "
        "(.json). index's manifest names them"
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_formats_that_pillow_writes_are_known(kind):
    assert (format_of(encoded(picture(), kind)) or "").upper().replace(" ", "") == kind
