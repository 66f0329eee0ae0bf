"""A PNG written band by band equals the picture, whatever the bands."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.pictures.png_stream import png_pieces


def picture_of(width, height, seed=0):
    """A smooth gradient with noise: some rows suit one filter, some the other."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 200, height)[:, None, None] + np.linspace(0, 50, width)[None, :, None]
    noise = rng.integers(0, 40, (height, width, 3)) * (np.arange(height) % 3 == 0)[:, None, None]
    return (slope + noise).astype(np.uint8)


def bands_of(picture, heights):
    return np.split(picture, np.cumsum(heights)[:-1])


def written(picture, heights, **more):
    height, width, _ = picture.shape
    return b"".join(png_pieces(bands_of(picture, heights), width, height, {"a": "b"}, **more))


@pytest.mark.parametrize("heights", [[60], [1] * 60, [17, 1, 42], [59, 1]])
def test_the_picture_reads_back_pixel_by_pixel_whatever_its_bands(heights):
    picture = picture_of(31, 60)
    opened = Image.open(io.BytesIO(written(picture, heights)))
    opened.verify()  # checksums of all chunks
    opened = Image.open(io.BytesIO(written(picture, heights)))
    assert opened.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(opened), picture)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
def test_extreme_pixels_read_back(value):
    picture = np.full((6, 5, 3), value, np.uint8)
    # The row above predicts these columns better than the left pixel, but it may be in another band.
    picture[:, ::2] = 255 - value
    picture[3] = 255 - picture[3]
    opened = Image.open(io.BytesIO(written(picture, [3, 1, 2])))
    np.testing.assert_array_equal(np.asarray(opened), picture)


def test_noise_reads_back_and_every_filter_is_used():
    picture = np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
    picture[10:20] = picture[10]
    picture[20:30] = picture[20:30, :1]
    file = written(picture, [13, 27])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), picture)
    rows = np.frombuffer(inflated(file), np.uint8).reshape(40, 61)
    assert set(rows[:, 0].tolist()) == {1, 2, 3}


def inflated(file):
    """Decompress the stream of all IDAT chunks; zlib verifies its checksum."""
    stream, place = b"", 8
    while place < len(file):
        length, kind = struct.unpack_from(">I4s", file, place)
        stream += file[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    return zlib.decompress(stream)


def test_a_picture_of_one_pixel():
    assert Image.open(io.BytesIO(written(picture_of(1, 1), [1]))).size == (1, 1)


def test_texts_are_read_back_before_any_pixel():
    text = {"Title": "mixed4 all 20", "Weights": "RANDOM WEIGHTS (seed 0)", "Accents": "Zoë, 猫"}
    pieces = png_pieces([picture_of(8, 8)], 8, 8, text)
    assert Image.open(io.BytesIO(next(pieces) + next(pieces) + b"".join(pieces))).info == text


def test_the_bytes_are_the_same_on_any_number_of_threads():
    picture = picture_of(64, 64)
    assert written(picture, [8] * 8, num_threads=4) == written(picture, [8] * 8)


def test_bands_cost_little_beside_one_piece():
    picture = picture_of(600, 600)
    assert len(written(picture, [100] * 6)) < 1.02 * len(written(picture, [600]))


def test_of_icons_no_larger_than_pillows_own_by_much():
    # Icons' spectrum: amplitudes fall with frequency.
    spectrum = np.fft.fft2(np.random.default_rng(0).standard_normal((3, 300, 300)))
    spectrum /= np.maximum(np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(300)])), 0.01) ** 1.25
    waves = np.fft.ifft2(spectrum).real
    picture = (128 + 40 * waves / waves.std()).clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    assert len(written(picture, [100] * 3)) < 1.05 * len(file.getvalue())


@pytest.mark.parametrize(("heights", "width", "height"), [([10], 8, 12), ([10, 10], 8, 12), ([12], 9, 12)])
def test_bands_that_do_not_add_up_to_the_picture_are_refused(heights, width, height):
    bands = [np.zeros((rows, 8, 3), np.uint8) for rows in heights]
    with pytest.raises(ValueError, match="the picture"):
        b"".join(png_pieces(bands, width, height, {}))


def test_only_a_few_bands_are_in_memory():
    taken = []

    def bands():
        for number in range(50):
            taken.append(number)
            yield np.zeros((2, 4, 3), np.uint8)

    pieces = png_pieces(bands(), 4, 100, {}, num_threads=2)
    for _ in range(4):  # header, texts, start of the stream, first band
        next(pieces)
    assert len(taken) <= 4
