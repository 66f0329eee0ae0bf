from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from making import encoded, picture, write_files
from PIL import Image

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import given_pictures
from atlas_pipeline.images.decode import decode
from atlas_pipeline.images.given_pictures import find_pictures, read_picture
from atlas_pipeline.images.resize_crop import apply_preprocess
from atlas_pipeline.models.preprocess import Preprocess


def _png_that_says(width: int, height: int) -> bytes:
    """A PNG file whose header names a size, and that holds no such pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0")
    chunks = (header, data, b"IEND")
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def _animation() -> bytes:
    first, second = (Image.fromarray(picture(seed)) for seed in (1, 2))
    out = io.BytesIO()
    first.save(out, "WEBP", save_all=True, append_images=[second], lossless=True)
    return out.getvalue()


def _left_out(tmp_path, name: str, raw: bytes) -> str:
    """The reason why a file is left out beside a good picture."""
    write_files(tmp_path, ["good.png"])
    (tmp_path / name).write_bytes(raw)
    found = find_pictures([str(tmp_path / name), str(tmp_path / "good.png")])
    assert [one.path for one in found.pictures] == [str(tmp_path / "good.png")]
    ((path, reason),) = found.left_out
    assert path == str(tmp_path / name)
    assert found.lines() == [f"1 picture left out: '{path}' ({reason})"]
    return reason


def test_order_is_as_given_and_globs_are_sorted(tmp_path):
    write_files(tmp_path, ["z.png", "in/b.png", "in/a.png", "in/deep/c.png"])
    found = find_pictures([str(tmp_path / "z.png"), str(tmp_path / "in" / "**" / "*.png")])
    names = [one.path.removeprefix(f"{tmp_path}/") for one in found.pictures]
    assert names == ["z.png", "in/a.png", "in/b.png", "in/deep/c.png"]


def test_file_named_twice_comes_once(tmp_path):
    write_files(tmp_path, ["a.png", "b.png"])
    found = find_pictures([str(tmp_path / "b.png"), str(tmp_path / "*.png")])
    assert [one.path[-5:] for one in found.pictures] == ["b.png", "a.png"]
    assert found.left_out == ()


def test_equal_bytes_come_once_and_are_said(tmp_path):
    (raw,) = write_files(tmp_path, ["a.png"])
    (tmp_path / "copy.png").write_bytes(raw)
    found = find_pictures([str(tmp_path / "*.png")])
    assert [one.digest for one in found.pictures] == [hashlib.sha256(raw).hexdigest()]
    assert found.left_out == ((str(tmp_path / "copy.png"), f"the same bytes as '{tmp_path / 'a.png'}'"),)


def test_path_with_wildcards_that_exists_is_no_glob(tmp_path):
    write_files(tmp_path, ["a[1].png", "a1.png"])
    found = find_pictures([str(tmp_path / "a[1].png")])
    assert [one.path for one in found.pictures] == [str(tmp_path / "a[1].png")]


def test_names_of_equal_stems_differ(tmp_path):
    write_files(tmp_path, ["x/My dog.png", "y/My dog.png"])
    names = [one.name for one in find_pictures([str(tmp_path / "*" / "*.png")]).pictures]
    assert len(set(names)) == 2
    assert all(name.startswith("my-dog-") for name in names)


def test_given_picture_reads_as_an_image_of_the_run(tmp_path):
    raw = encoded(picture(3, 70, 110), "JPEG", quality=90)
    (tmp_path / "a.jpg").write_bytes(raw)
    preprocess = Preprocess(resize=40, crop=32)
    (one,) = find_pictures([str(tmp_path / "a.jpg")]).pictures
    expected = apply_preprocess(decode(raw, 40), preprocess)
    assert np.array_equal(read_picture(one.path, one.digest, preprocess), expected)


def test_changed_picture_is_refused(tmp_path):
    write_files(tmp_path, ["a.png"])
    (one,) = find_pictures([str(tmp_path / "a.png")]).pictures
    (tmp_path / "a.png").write_bytes(encoded(picture(9)))
    with pytest.raises(ImagesError, match="has changed since"):
        read_picture(one.path, one.digest, Preprocess())
    assert find_pictures([one.path]).pictures[0].digest != one.digest


def test_animation_gives_its_first_frame_and_says_so(tmp_path):
    (tmp_path / "a.webp").write_bytes(_animation())
    found = find_pictures([str(tmp_path / "a.webp")])
    (one,) = found.pictures
    assert found.lines() == [f"{one.path}: WEBP of several frames; the first is taken"]
    pixels = read_picture(one.path, one.digest, Preprocess(resize=None, crop=24))
    assert np.array_equal(pixels, apply_preprocess(picture(1), Preprocess(resize=None, crop=24)))


def test_text_is_no_picture(tmp_path):
    assert _left_out(tmp_path, "a.jpg", b"hello, this is text") == "not an image of a known format"


def test_empty_file_is_no_picture(tmp_path):
    assert _left_out(tmp_path, "a.jpg", b"") == "empty file"


def test_truncated_picture_is_left_out(tmp_path):
    assert "truncated" in _left_out(tmp_path, "a.png", encoded(picture(4, 90, 90))[:400])


def test_one_pixel_is_left_out(tmp_path):
    raw = encoded(picture(0, 1, 1))
    assert _left_out(tmp_path, "a.png", raw) == "1 x 1 pixels, and each side needs at least 8"


def test_200_megapixels_are_refused_before_decoding(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(given_pictures, "decode", lambda raw: decoded.append(len(raw)))
    reason = _left_out(tmp_path, "a.png", _png_that_says(20_000, 10_000))
    assert reason == "20,000 x 10,000 pixels, more than 150,000,000 in all; make it smaller"
    assert len(decoded) == 1  # the good picture beside it


def test_glob_without_files_is_left_out_and_said(tmp_path):
    write_files(tmp_path, ["good.png"])
    pattern = str(tmp_path / "*.jpg")
    found = find_pictures([pattern, str(tmp_path / "good.png")])
    assert found.left_out == ((pattern, "no file matches it"),)


@pytest.mark.parametrize(
    ("name", "reason"), [("gone.jpg", "no such file"), ("*.jpg", "no file matches it"), ("", "is a folder")]
)
def test_no_usable_picture_is_one_clear_line(tmp_path, name, reason):
    with pytest.raises(ImagesError, match=f"^none of the pictures given can be used: .*{reason}") as error:
        find_pictures([f"{tmp_path}/{name}"])
    assert "\n" not in str(error.value)


def test_many_bad_pictures_are_counted_and_the_first_named(tmp_path):
    write_files(tmp_path, ["good.png"])
    for number in range(6):
        (tmp_path / f"bad{number}.png").write_bytes(b"x" * (number + 1))
    (line,) = find_pictures([str(tmp_path / "*.png")]).lines()
    assert line.startswith("6 pictures left out: ")
    assert line.count("not an image") == 4
    assert line.endswith("; 2 more")
