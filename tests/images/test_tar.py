from __future__ import annotations

import gzip
import io
import json
import os
import tarfile

import pytest
from making import encoded, picture, write_tar

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.listing import class_names, list_images, listing, listing_stamp
from atlas_pipeline.images.tar_members import members
from atlas_pipeline.images.tar_shards import TarReader

RAW = [encoded(picture(i)) for i in range(6)]
LONG = "folder/" * 20 + "name"
KINDS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def listed(path, num_images=None, seed=0):
    return list_images("tar", str(path), num_images, seed)


@pytest.fixture
def shards(tmp_path):
    write_tar(tmp_path / "s/0.tar", {"a.jpg": RAW[0], "a.cls": b"7", "b.PNG": RAW[1], "b.cls": b" 3\n"})
    members = {
        "d/c.json": json.dumps({"label": 2, "caption": "c"}).encode(),
        "d/c.webp": RAW[2],
        "d/e.json": json.dumps({"cls": 1}).encode(),
        "d/e.txt": b"a caption",
        "d/e.jpeg": RAW[3],
        "f.jpg": RAW[4],
        "f.json": b'{"caption": "f"}',
        "only.cls": b"5",
        "._f.jpg": b"what macOS leaves",
        "g.seg.png": b"a map of labels, no image",
        "g.png": b"",
    }
    write_tar(tmp_path / "s/1.tar", members)
    return tmp_path / "s"


def test_keys_labels_and_bytes(shards):
    table = listed(shards)
    assert table["key"].to_pylist() == [
        "0.tar/a.jpg", "0.tar/b.PNG", "1.tar/d/c.webp", "1.tar/d/e.jpeg", "1.tar/f.jpg", "1.tar/g.png",
    ]  # fmt: skip
    assert table["label"].to_pylist() == [7, 3, 2, 1, -1, -1]
    assert table["file"].to_pylist() == ["0.tar"] * 2 + ["1.tar"] * 4
    reader = TarReader(shards)
    places = list(zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True))
    for i in (0, 1, 2, 3, 4, 5, 0, 3):
        assert reader.read(*places[i]) == [*RAW[:5], b""][i]
    assert class_names("tar", str(shards)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a", "./a", "ä/b", LONG])
def test_formats_and_names(tmp_path, kind, name):
    write_tar(tmp_path / "x.tar", {f"{name}.png": RAW[0], f"{name}.cls": b"4", "z.png": RAW[1]}, kind)
    table = listed(tmp_path / "x.tar")
    assert table["key"].to_pylist() == [f"x.tar/{name.removeprefix('./')}.png", "x.tar/z.png"]
    assert table["label"].to_pylist() == [4, -1]
    assert [TarReader(tmp_path).read("x.tar", row) for row in table["row"].to_pylist()] == RAW[:2]


@pytest.mark.parametrize("kind", KINDS)
def test_members_of_every_sort_side_by_side(tmp_path, kind):
    """Plain members, which are read without tarfile, with other members before and after them."""
    at_a_time = {tarfile.PAX_FORMAT: 1.5}.get(kind, 1)
    with tarfile.open(tmp_path / "x.tar", "w", format=kind) as archive:
        for i, name in enumerate(
            ["a", LONG, "b", "ä", "./c", "x" * 93, "x" * 90, "d", "link", "folder", "e"]
        ):
            member = tarfile.TarInfo(name if name in ("link", "folder") else f"{name}.{i}.png")
            member.size, member.mtime = 700 * i, at_a_time
            member.type = {"link": tarfile.SYMTYPE, "folder": tarfile.DIRTYPE}.get(name, tarfile.REGTYPE)
            if kind == tarfile.PAX_FORMAT:
                member.pax_headers = {"comment": "c" * {"b": 5000, "d": 10}.get(name, 0)}
            archive.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
    with tarfile.open(tmp_path / "x.tar", encoding="utf-8") as archive:
        expected = [(m.name.removeprefix("./"), m.offset_data, m.size) for m in archive if m.isreg()]
    with open(tmp_path / "x.tar", "rb") as archive:
        found = list(members(archive))
    assert [m.problem for m in found if m.name == "link"] == ["link to no file of its archive"]
    assert [(m.name, m.start, m.size) for m in found if not m.problem] == expected
    assert len(expected) == 9


def test_links_are_the_files_they_lead_to(tmp_path):
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/1.png").write_bytes(RAW[0])
    (tmp_path / "d/1.cls").write_bytes(b"3")
    os.link(tmp_path / "d/1.png", tmp_path / "d/2.png")
    os.link(tmp_path / "d/1.cls", tmp_path / "d/2.cls")
    (tmp_path / "d/e/3.png").symlink_to("../1.png")
    (tmp_path / "d/e/4.png").symlink_to("3.png")
    (tmp_path / "d/e/5.png").symlink_to("6.png")
    (tmp_path / "d/e/6.png").symlink_to("5.png")
    (tmp_path / "d/e/7.png").symlink_to(tmp_path / "elsewhere.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in (
            "1.cls",
            "1.png",
            "2.cls",
            "2.png",
            "e/3.png",
            "e/4.png",
            "e/5.png",
            "e/6.png",
            "e/7.png",
        ):
            archive.add(tmp_path / "d" / name, f"./d/{name}")
    found = listing("tar", str(tmp_path / "x.tar"), None, 0)
    names = ["1.png", "2.png", "e/3.png", "e/4.png"]
    assert found.images["key"].to_pylist() == [f"x.tar/d/{name}" for name in names]
    assert found.images["label"].to_pylist() == [3, 3, -1, -1]
    rows = found.images["row"].to_pylist()
    assert [TarReader(tmp_path).read("x.tar", row) for row in rows] == [RAW[0]] * 4
    lost = {"reason": "link to no file of its archive", "num": 3}
    assert found.notes()["left_out"] == [lost | {"names": [f"x.tar/d/e/{i}.png" for i in (5, 6, 7)]}]


DOTS = {
    "a digit after a dot": ({"I.20.1.jpg": 0, "I.20.1.cls": 4, "x.jpg": 1, "I.20.2.jpg": 2}, [4, -1, -1]),
    "a word after a dot": ({"mr.s.jpg": 0, "mr.s.cls": 4, "x.jpg": 1, "mr.jones.jpg": 2}, [4, -1, -1]),
    "two views of a sample": ({"1.left.jpg": 0, "1.right.jpg": 1, "1.cls": 4}, [4, 4]),
    "a photo and what is drawn": ({"1.in.jpg": 0, "1.mask.png": "mask", "1.cls": 4}, [4]),
    "a mask alone": ({"1.mask.png": 0, "2.mask.png": 1}, [-1, -1]),
    "frames of a sample": ({"1.0.jpg": 0, "1.1.jpg": 1, "1.cls": 4}, [4, 4]),
    "dots in a folder": ({"v1.5/a.b/1.jpg": 0, "v1.5/a.b/1.cls": 4}, [4]),
    "two dots": ({"a..jpg": 0, "a..cls": 4, "b.jpg": 1}, [4, -1]),
    "a mask beside": ({"1.5.jpg": 0, "1.5.seg.png": "mask", "1.5.cls": 4}, [4]),
    "a second image": ({"1.png": "mask", "1.jpg": 0, "1.cls": 4}, [4]),
    "known by content": ({"1": 0, "1.cls": 4, "2.img": 1, "3.JFIF": 2}, [4, -1, -1]),
}  # fmt: skip


@pytest.mark.parametrize("case", DOTS)
def test_names_with_dots(tmp_path, case):
    members, labels = DOTS[case]
    raw = {
        name: b"%d" % value if name.endswith("cls") else RAW[5 if value == "mask" else value]
        for name, value in members.items()
    }
    write_tar(tmp_path / "x.tar", raw)
    table, reader = listed(tmp_path / "x.tar"), TarReader(tmp_path)
    assert table["label"].to_pylist() == labels
    assert [reader.read("x.tar", row) for row in table["row"].to_pylist()] == RAW[: len(labels)]


@pytest.mark.parametrize("kind", KINDS)
def test_archives_one_behind_the_other_are_read_through(tmp_path, kind):
    for name, held in (("a", {"1.png": RAW[0]}), ("b", {"ä/2.png": RAW[1], "3.png": RAW[2]})):
        write_tar(tmp_path / name, held, kind)
    whole = (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()
    (tmp_path / "x.tar").write_bytes(whole)
    table, reader = listed(tmp_path / "x.tar"), TarReader(tmp_path)
    assert table["key"].to_pylist() == ["x.tar/1.png", "x.tar/ä/2.png", "x.tar/3.png"]
    assert [reader.read("x.tar", row) for row in table["row"].to_pylist()] == RAW[:3]
    (tmp_path / "x.tar").write_bytes(whole + b"words" * 200)
    (group,) = listing("tar", str(tmp_path / "x.tar"), None, 0).notes()["left_out"]
    assert group["reason"] == "bytes after the archive's end mark"
    (tmp_path / "x.tar").write_bytes(whole[: whole.rindex(RAW[2]) + 20])
    with pytest.raises(ImagesError, match="cut short before byte"):
        listed(tmp_path / "x.tar")


def test_a_sparse_member_is_named(tmp_path):
    """The bytes of a sparse member are not contiguous."""
    write_tar(tmp_path / "x.tar", {"a.png": RAW[0], "b.png": RAW[1]})
    raw = bytearray((tmp_path / "x.tar").read_bytes())
    raw[156:157] = tarfile.GNUTYPE_SPARSE
    raw[257:265] = b"ustar  \0"
    raw[386 : 386 + 24] = b"%011o\0%011o\0" % (0, len(RAW[0]))
    raw[483:495] = b"%011o\0" % len(RAW[0])
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    (tmp_path / "x.tar").write_bytes(raw)
    found = listing("tar", str(tmp_path / "x.tar"), None, 0)
    assert found.images["key"].to_pylist() == ["x.tar/b.png"]
    (group,) = found.notes()["left_out"]
    assert (group["names"], "sparse" in group["reason"]) == (["x.tar/a.png"], True)


def test_a_size_in_binary(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.png": RAW[0]})
    block = bytearray((tmp_path / "x.tar").read_bytes())
    block[124:136] = b"\x80" + len(RAW[0]).to_bytes(11, "big")  # GNU tar's form for sizes too big for octal
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    (tmp_path / "x.tar").write_bytes(block)
    row = listed(tmp_path)["row"][0].as_py()
    assert TarReader(tmp_path).read("x.tar", row) == RAW[0]


def test_a_subset_is_that_of_the_whole(shards):
    every, some = listed(shards).to_pylist(), listed(shards, 3).to_pylist()
    by_key = {row["key"]: row for row in every}
    assert [row["image_id"] for row in some] == [0, 1, 2]
    assert all(row | {"image_id": by_key[row["key"]]["image_id"]} == by_key[row["key"]] for row in some)


def test_digests_are_of_the_images_and_the_stamp_of_the_files(shards, tmp_path):
    before, stamp = listed(shards), listing_stamp("tar", str(shards))
    moved = shards.rename(tmp_path / "moved")
    assert listed(moved) == before
    assert listing_stamp("tar", str(moved)) == stamp
    os.utime(moved / "0.tar", ns=(1, 1))
    assert listing_stamp("tar", str(moved)) != stamp
    write_tar(tmp_path / "other/x.tar", {"a.jpg": RAW[0], "b.jpg": RAW[5]})
    other = listed(tmp_path / "other")["digest"]
    assert other[0] == before["digest"][0]
    assert other[1] not in before["digest"].to_pylist()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.jpg": b"", "b.jpg": b"", "a.cls": b"1"}, "key 'a' is in two places of shard 'x.tar'"),
        ({"a.seg.jpg": b"", "b.jpg": b"", "a.jpg": b""}, "key 'a' is in two places of shard 'x.tar'"),
        ({"a.jpg": b"", "b.jpg": b"", "a.seg.png": b""}, "key 'a' is in two places of shard 'x.tar'"),
        ({"a.jpg": b"", "a.JPG": b""}, "key 'a' is in two places of shard 'x.tar'"),
        ({"a.b.jpg": b"", "c.jpg": b"", "a.b.cls": b"1"}, "key 'a' is in two places of shard 'x.tar'"),
        ({"a.jpg": b"", "a.cls": b"dog"}, "label in 'a.cls' of shard 'x.tar' is 'dog', no integer"),
        ({"a.jpg": b"", "a.json": b'{"label": "dog"}'}, "'a.json' of shard 'x.tar' is 'dog', no integer"),
        ({"a.jpg": b"", "a.cls": b"9" * 20}, "label in 'a.cls' of shard 'x.tar' is 9{20}, no integer"),
        ({"a.jpg": b"", "a.json": b"[1]"}, r"label in 'a.json' of shard 'x.tar' is '\[1\]', no integer"),
        ({"a.jpg": b"", "a.cls": b"-2"}, "label -2 of image 'x.tar/a.jpg' .'x.tar', row 0. is out of range"),
        ({"a.jpg": b"", "a.cls": b"2147483648"}, "label 2147483648 of image .* is out of range"),
        ({"a.txt": b""}, "no images in the shards"),
    ],
)  # fmt: skip
def test_mistakes_in_a_shard(tmp_path, members, message):
    write_tar(tmp_path / "x.tar", members)
    with pytest.raises(ImagesError, match=message) as caught:
        listed(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_member_that_is_there_twice(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.jpg": RAW[0], "b.jpg": RAW[1]})
    with tarfile.open(tmp_path / "x.tar", "a") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(ImagesError, match="key 'a' is in two places"):
        listed(tmp_path)


def test_a_shard_cut_anywhere_is_named(shards):
    whole = (shards / "1.tar").read_bytes()
    end = whole.rindex(b"ustar") - 257 + 512  # after the last member, which is empty
    for length in (0, 100, 512, 700, len(RAW[2]), end // 512 * 512 - 512, end, end + 511):
        (shards / "1.tar").write_bytes(whole[:length])
        with pytest.raises(
            ImagesError, match=r"1\.tar' cannot be read \(cut short before byte .*; copy it anew"
        ) as caught:
            listed(shards)
        assert "\n" not in str(caught.value)
    (shards / "1.tar").write_bytes(whole[: end + 512])
    assert listed(shards).num_rows == 6


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gzip.compress(b"x" * 2000 + os.urandom(1000)), "compressed by gzip: unpack it"),
        (b"words " * 200, "no uncompressed tar at byte 0"),
    ],
)
def test_what_is_no_tar_is_refused(tmp_path, raw, message):
    (tmp_path / "x.tar").write_bytes(raw)
    with pytest.raises(ImagesError, match=message):
        listed(tmp_path)


def test_a_broken_header_is_named(shards):
    raw = bytearray((shards / "0.tar").read_bytes())
    second = raw.index(b"a.cls\0")
    raw[second + 3] ^= 1
    (shards / "0.tar").write_bytes(raw)
    with pytest.raises(ImagesError, match=f"no tar header at byte {second:,}"):
        listed(shards)


def test_a_negative_size_is_no_header(shards):
    """A reader that accepted the negative size would loop over one header forever."""
    raw = bytearray((shards / "0.tar").read_bytes())
    second = raw.index(b"a.cls\0")
    raw[second + 124 : second + 136] = b"-0000001000\0"
    raw[second + 148 : second + 156] = b" " * 8
    raw[second + 148 : second + 156] = b"%06o\0 " % sum(raw[second : second + 512])
    (shards / "0.tar").write_bytes(raw)
    with pytest.raises(ImagesError, match=f"no tar header at byte {second:,}"):
        listed(shards)


def test_a_shard_that_changed_since_it_was_listed(shards):
    table = listed(shards)
    row = table["row"].to_pylist()[1]
    whole = (shards / "0.tar").read_bytes()
    reader = TarReader(shards)
    assert reader.read("0.tar", row) == RAW[1]
    os.truncate(shards / "0.tar", row + 600)
    with pytest.raises(ImagesError, match=r"0\.tar' cannot be read \(ends at byte"):
        reader.read("0.tar", row)
    (shards / "0.tar").write_bytes(bytes(len(whole)))
    with pytest.raises(ImagesError, match="it changed since it was listed"):
        TarReader(shards).read("0.tar", row)
