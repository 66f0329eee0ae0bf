"""From a file's bytes to 8-bit RGB.

JPEG, which most images are, by libjpeg-turbo through simplejpeg: the pixels of Pillow and of torchvision,
with less around them. Everything else, and what of JPEG is unusual (CMYK, damage), by Pillow.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from atlas_pipeline.errors import AtlasError
from atlas_pipeline.images.formats import HEAD_BYTES, READ, format_of
from atlas_pipeline.images.png import PNG_START, without_large_texts

# Not whatever Pillow knows: some of its formats run other programs (EPS) or are no images.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = 2**28  # 16,384 x 16,384: 1 GB once decoded
MAX_REASON = 120
JPEG_START = b"\xff\xd8"
MARKER, APP1, START_OF_SCAN = 0xFF, 0xE1, 0xDA
ORIENTATION_TAG = 0x0112
DNG_VERSION_TAG = 0xC612


class BadImageError(AtlasError):
    """One image that cannot be used: counted and left out, not the end of a run. The message says why."""


def decode(raw: bytes, shorter_px: int | None = None) -> np.ndarray:
    """Decode an image file.

    JPEG, PNG, WebP, AVIF, JPEG 2000, BMP, GIF, TIFF and PPM, of several frames the first. Grey, palette and
    CMYK become RGB; 16 bits become 8 (v / 257); transparency is laid on white, as a viewer would show it;
    EXIF orientation is applied.

    Args:
        raw: the file's bytes.
        shorter_px: what the shorter side will be resized to. A JPEG of at least four times that is decoded at
            a half of its size or less, never below twice ``shorter_px``: faster, and the same for the same
            bytes.
    Returns: (height, width, 3) uint8.
    Raises:  BadImageError: no image, one of a format that is not read (it is named), cut short, of 32-bit
        samples, or of more than MAX_PIXELS pixels.
    """
    if not raw:
        raise BadImageError("empty file")
    try:
        if raw.startswith(JPEG_START):
            pixels = _common_jpeg(raw, 2 * (shorter_px or 0))
            if pixels is not None:
                return _upright(pixels, _orientation_of_jpeg(raw)) if _may_be_turned(raw) else pixels
        return _by_pillow(raw)
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImageError(_unidentified(raw[:HEAD_BYTES])) from None
    # Whatever a decoder raises over broken bytes (OSError, SyntaxError, struct.error, ...): the image is bad.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadImageError(reason[:MAX_REASON]) from error


def _common_jpeg(raw: bytes, least_px: int) -> np.ndarray | None:
    """As it is stored; None: Pillow knows more of it."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        if colours not in ("YCbCr", "Gray", "RGB") or height * width > MAX_PIXELS:
            return None
        # A factor below 2 would be slower than all pixels: few scales have fast code in libjpeg-turbo.
        return simplejpeg.decode_jpeg(raw, "RGB", min_height=least_px, min_width=least_px, min_factor=2)
    except ValueError:  # cut short, or a warning of libjpeg's
        return None


def _may_be_turned(raw: bytes) -> bool:
    """Whether a JPEG has EXIF or XMP, which may say how the camera was held.

    Pillow's own look at the headers takes five times as long as decoding a small image.
    """
    at = len(JPEG_START)
    while at + 4 <= len(raw) and raw[at] == MARKER:
        if raw[at + 1] in (APP1, START_OF_SCAN):
            return raw[at + 1] == APP1
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return True  # out of step, by bytes that fill up: Pillow finds its way


def _unidentified(head: bytes) -> str:
    kind = format_of(head)
    if kind is None:
        return "not an image of a known format"
    if kind in ("AVIF", "JPEG 2000"):
        return f"{kind}: damaged, or the Pillow installed is built without it (pip install -U pillow)"
    return f"{kind}: damaged" if kind in READ else f"{kind}, which is not read"


def _by_pillow(raw: bytes) -> np.ndarray:
    try:
        return _pixels(raw)
    except ValueError:
        # Pillow refuses large texts and profiles, with which every viewer shows the image.
        smaller = without_large_texts(raw) if raw.startswith(PNG_START) else raw
        if len(smaller) == len(raw):
            raise
        return _pixels(smaller)


def _pixels(raw: bytes) -> np.ndarray:
    with _quiet_pillow(), Image.open(io.BytesIO(raw), formats=_formats()) as image:
        if image.format == "TIFF" and DNG_VERSION_TAG in image.tag_v2:  # type: ignore[attr-defined]
            raise BadImageError("camera raw, which is not read")  # Pillow would give its small preview
        if image.width * image.height > MAX_PIXELS:
            raise BadImageError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
        image.load()
        return _upright(np.array(_rgb(image)), _orientation(image))


def _orientation_of_jpeg(raw: bytes) -> int:
    with _quiet_pillow(), Image.open(io.BytesIO(raw), formats=("JPEG",)) as image:
        return _orientation(image)


@cache
def _formats() -> tuple[str, ...]:
    """FORMATS that the Pillow installed has a reader for."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Without Pillow's own limit of 179 million pixels (ours stands above) and its warnings on metadata."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    """How the stored pixels lie: 1-8 as in EXIF 2.3."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:
        return 1  # broken EXIF says nothing about the pixels


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(height, width, 3) pixels turned and mirrored from how they are stored to how they are seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # In float64, rounded: v / 257 maps 65535 to 255. Pillow reads 16-bit PGM as "I".
        grey = np.rint(np.asarray(image).astype(np.float64) / 257).clip(0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImageError("32-bit samples, whose range is unknown; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
