from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from making import encoded, picture, png_16_bit_rgb
from PIL import Image, PngImagePlugin, TiffImagePlugin

from atlas_pipeline.images import decode as decode_module
from atlas_pipeline.images.decode import BadImageError, decode


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("TIFF", {"compression": "jpeg", "quality": 100}),
    ],
)
def test_rgb_comes_back(kind, options):
    decoded = decode(encoded(picture(), kind, **options))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (24, 36, 3)
    lossless = "quality" not in options
    assert np.abs(decoded.astype(int) - picture()).max() <= (0 if lossless else 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_close(options):
    decoded = decode(encoded(picture(), "JPEG", quality=95, **options))
    assert np.abs(decoded.astype(int) - picture()).mean() < 3


def test_jpeg_has_torchvisions_pixels():
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    raw = encoded(picture(1, 61, 97), "JPEG")
    theirs = decode_jpeg(torch.frombuffer(bytearray(raw), dtype=torch.uint8), mode=ImageReadMode.RGB)
    assert np.array_equal(decode(raw), theirs.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "PPM"])
def test_grey_is_the_same_in_all_channels(kind):
    grey = picture()[:, :, 0]
    decoded = decode(encoded(grey, kind, **({"quality": 100} if kind == "JPEG" else {})))
    assert np.abs(decoded.astype(int) - grey[:, :, None]).max() <= (2 if kind == "JPEG" else 0)


def test_one_bit():
    image = Image.fromarray(picture()[:, :, 0]).convert("1")
    assert np.array_equal(decode(encoded(image))[:, :, 1], np.asarray(image) * np.uint8(255))


def test_palette():
    image = Image.fromarray(picture()).quantize(16)
    assert np.array_equal(decode(encoded(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_first_frame_of_an_animation(kind, options):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("red", "blue")]
    decoded = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert np.array_equal(decoded, np.broadcast_to([255, 0, 0], (4, 5, 3)))


def test_cmyk_jpeg():
    decoded = decode(encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=98))
    assert np.abs(decoded.astype(int) - picture()).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_grey_is_divided_by_257(kind):
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], np.uint16)
    decoded = decode(encoded(values, kind))
    assert decoded[:, :, 0].tolist() == [[0, 0, 1, 1], [128, 254, 255, 255]]
    assert (decoded == decoded[:, :, :1]).all()


def test_16_bit_rgb_png_is_within_one_level():
    values = np.linspace(0, 65535, 8 * 9 * 3).round().astype(np.uint16).reshape(8, 9, 3)
    decoded = decode(png_16_bit_rgb(values))
    assert np.abs(decoded - values / 257).max() <= 1
    assert decoded.reshape(-1)[[0, -1]].tolist() == [0, 255]


def test_transparency_is_laid_on_white():
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    decoded = decode(encoded(pixels))
    assert decoded[0, :2].tolist() == [[10, 20, 30], [255, 255, 255]]
    assert np.abs(decoded[0, 2].astype(int) - 127).max() <= 1


def test_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert decode(encoded(image, transparency=1)).tolist() == [[[255, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    upright = picture(2)
    # Pixels that a camera stores for the upright scene, by orientation (EXIF 2.3, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 98} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(np.ascontiguousarray(stored), kind, exif=exif.tobytes(), **quality))
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 4


def test_broken_exif_is_ignored():
    raw = encoded(picture(), "JPEG", quality=98, exif=b"Exif\0\0not a tiff header")
    assert decode(raw).shape == (24, 36, 3)


TEXTS = {
    "zTXt": lambda info: info.add_text("workflow", "x" * (2 << 20), zip=True),
    "iTXt": lambda info: info.add_itxt("workflow", "x" * (2 << 20), zip=True),
    "tEXt": lambda info: [info.add_text(f"{i}", "x" * (1 << 20)) for i in range(66)],
}


@pytest.mark.parametrize("metadata", [*TEXTS, "iCCP"])
def test_a_png_with_large_metadata_keeps_its_pixels_and_orientation(metadata):
    info, exif, options = PngImagePlugin.PngInfo(), Image.Exif(), {}
    if metadata == "iCCP":
        options = {"icc_profile": bytes(2 << 20)}
    else:
        TEXTS[metadata](info)
    exif[0x0112] = 3
    raw = encoded(picture(), pnginfo=info, exif=exif.tobytes(), **options)
    with Image.open(io.BytesIO(encoded(picture()))) as plain:
        assert np.array_equal(decode(raw), np.asarray(plain)[::-1, ::-1])


def test_a_png_cut_within_its_large_text_is_bad():
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * (2 << 20), zip=True)
    with pytest.raises(BadImageError):
        decode(encoded(picture(), pnginfo=info)[:1000])


def test_a_camera_raw_with_tiffs_header_is_not_taken_for_its_preview():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0xC612] = b"\1\4\0\0"
    with pytest.raises(BadImageError, match="camera raw"):
        decode(encoded(picture(), "TIFF", tiffinfo=tags))


def test_one_pixel():
    assert decode(encoded(np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_more_pixels_than_pillow_likes():
    raw = encoded(Image.new("1", (20_000, 10_000)))
    limit = Image.MAX_IMAGE_PIXELS
    assert limit is not None
    assert 2 * limit < 20_000 * 10_000
    assert decode(raw).shape == (10_000, 20_000, 3)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_more_pixels_than_the_limit(monkeypatch):
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 24 * 36 - 1)
    with pytest.raises(BadImageError, match="36 x 24 pixels, more than 863"):
        decode(encoded(picture()))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty file"),
        (b"These are words, not pixels.\n" * 9, "not an image of a known format"),
        (encoded(picture(0, 90, 90), "JPEG")[:900], "truncated"),
        (encoded(picture(0, 90, 90))[:900], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript, which is not read"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC, which is not read"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "HEIC, which is not read"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(99), "video .MP4 or MOV., which is not read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (encoded(picture(), "AVIF")[:40], "AVIF: damaged"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "32-bit samples"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "32-bit samples"),
    ],
)
def test_bad_images_say_why(raw, reason):
    with pytest.raises(BadImageError, match=reason) as caught:
        decode(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000"])
def test_files_cut_anywhere_raise_nothing_else(kind):
    whole = encoded(picture(), kind)
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        with contextlib.suppress(BadImageError):
            assert decode(whole[:length]).shape == (24, 36, 3)


def test_large_jpegs_are_decoded_smaller_but_never_below_twice_the_need():
    raw = encoded(picture(3, 640, 960), "JPEG", quality=95)
    assert decode(raw).shape == (640, 960, 3)
    assert decode(raw, shorter_px=161).shape == (640, 960, 3)
    assert decode(raw, shorter_px=160).shape == (320, 480, 3)
    assert decode(raw, shorter_px=64).shape == (160, 240, 3)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGB", {"subsampling": 0}), ("RGB", {"progressive": True}), ("L", {}), ("CMYK", {})],
)
def test_a_jpeg_has_pillows_pixels(mode, options):
    image = Image.fromarray(picture(7, 77, 95)).convert(mode)
    raw = encoded(image, "JPEG", **options)
    assert np.array_equal(decode(raw), np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")))


def test_what_the_quick_decoder_refuses_pillow_may_know():
    raw = encoded(picture(), "JPEG")
    # An extra byte before a marker: libjpeg warns, but every viewer shows the image.
    end = raw.rindex(b"\xff\xd9")
    assert np.array_equal(decode(raw[:end] + b"\0" + raw[end:]), decode(raw))
