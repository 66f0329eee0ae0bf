"""Decode a file's bytes to 8-bit RGB.

Most images are JPEG and are decoded by libjpeg-turbo through simplejpeg, with the pixels of Pillow and
torchvision but less overhead. Pillow decodes everything else, including unusual JPEG files (CMYK, damaged).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from atlas_pipeline.errors import AtlasError
from atlas_pipeline.images.formats import HEAD_BYTES, READ, format_of
from atlas_pipeline.images.png import PNG_SIGNATURE, without_large_texts

# A fixed list, since some of Pillow's formats run other programs (EPS) or are no images.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = 2**28  # 16,384 x 16,384: 1 GB when decoded
MAX_REASON = 120
JPEG_SIGNATURE = b"\xff\xd8"
MARKER, APP1, START_OF_SCAN = 0xFF, 0xE1, 0xDA
ORIENTATION_TAG = 0x0112
DNG_VERSION_TAG = 0xC612
# A photo of a phone may hold a second, smaller picture (MPO), which is no animation.
FRAMED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF", "TIFF")


class BadImageError(AtlasError):
    """An image that cannot be used, and why. It is counted and left out; the run continues."""


@dataclass(frozen=True, slots=True)
class Header:
    """The facts in an image file's header. width, height: as stored. has_frames: an animation, or pages."""

    format: str
    width: int
    height: int
    has_frames: bool


def read_header(raw: bytes) -> Header:
    """Read an image file's header; no pixel is decoded.

    Raises: BadImageError: no image, or an unsupported format (named in the message).
    """
    try:
        with _quiet_pillow(), Image.open(io.BytesIO(raw), formats=_formats()) as image:
            kind = str(image.format)
            has_frames = kind in FRAMED_FORMATS and bool(getattr(image, "is_animated", False))
            return Header(kind, image.width, image.height, has_frames)
    except UnidentifiedImageError:
        raise BadImageError(_unidentified(raw[:HEAD_BYTES])) from None
    # Decoders raise many errors for broken bytes, as below.
    except Exception as error:
        raise BadImageError(_reason(error)) from error


def decode(raw: bytes, shorter_px: int | None = None) -> np.ndarray:
    """Decode an image file.

    It reads JPEG, PNG, WebP, AVIF, JPEG 2000, BMP, GIF, TIFF and PPM, and takes the first of several frames.
    Grey, palette and CMYK become RGB; 16 bits become 8 (v / 257); transparency is composited on white, as a
    viewer shows it; the EXIF orientation is applied.

    Args:
        raw: the file's bytes.
        shorter_px: size to which the shorter side will be resized. A JPEG at least four times as large is
            decoded at half its size or less, but never below twice ``shorter_px``. This is faster, and the
            result depends on the bytes alone.
    Returns: (height, width, 3) uint8.
    Raises:  BadImageError: no image, an unsupported format (named in the message), truncated, 32-bit samples,
             or more than MAX_PIXELS pixels.
    """
    if not raw:
        raise BadImageError("empty file")
    try:
        if raw.startswith(JPEG_SIGNATURE):
            pixels = _decode_common_jpeg(raw, 2 * (shorter_px or 0))
            if pixels is not None:
                return _upright(pixels, _orientation_of_jpeg(raw)) if _may_have_orientation(raw) else pixels
        return _decode_with_pillow(raw)
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImageError(_unidentified(raw[:HEAD_BYTES])) from None
    # Decoders raise many errors for broken bytes (OSError, SyntaxError, struct.error, ...); the image is bad.
    except Exception as error:
        raise BadImageError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return (str(error).partition("\n")[0] or type(error).__name__)[:MAX_REASON]


def _decode_common_jpeg(raw: bytes, min_px: int) -> np.ndarray | None:
    """The pixels as stored; None: leave it to Pillow."""
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(raw)
        if colour_space not in ("YCbCr", "Gray", "RGB") or height * width > MAX_PIXELS:
            return None
        # A factor below 2 would be slower than full size: libjpeg-turbo has fast code for few scales.
        return simplejpeg.decode_jpeg(raw, "RGB", min_height=min_px, min_width=min_px, min_factor=2)
    except ValueError:  # truncated, or a warning from libjpeg
        return None


def _may_have_orientation(raw: bytes) -> bool:
    """Whether a JPEG has EXIF or XMP data, which may contain an orientation.

    Pillow takes five times as long to read the headers as this takes to decode a small image.
    """
    at = len(JPEG_SIGNATURE)
    while at + 4 <= len(raw) and raw[at] == MARKER:
        if raw[at + 1] in (APP1, START_OF_SCAN):
            return raw[at + 1] == APP1
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return True  # fill bytes between the segments: Pillow can handle them


def _unidentified(head: bytes) -> str:
    kind = format_of(head)
    if kind is None:
        return "not an image of a known format"
    if kind in ("AVIF", "JPEG 2000"):
        return f"{kind}: damaged, or the Pillow installed is built without it (pip install -U pillow)"
    return f"{kind}: damaged" if kind in READ else f"{kind}, which is not read"


def _decode_with_pillow(raw: bytes) -> np.ndarray:
    try:
        return _pixels(raw)
    except ValueError:
        # Pillow refuses large texts and profiles, although every viewer shows such images.
        smaller = without_large_texts(raw) if raw.startswith(PNG_SIGNATURE) else raw
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
    """The FORMATS that the installed Pillow can read."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Turn off Pillow's own limit of 179 million pixels (MAX_PIXELS applies) and its metadata warnings."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _orientation(image: Image.Image) -> int:
    """The orientation of the stored pixels: 1-8 as in EXIF 2.3."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:
        return 1  # broken EXIF says nothing about the pixels


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror stored pixels (height, width, 3) to their displayed orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # v / 257 in float64, rounded, maps 65535 to 255. Pillow reads 16-bit PGM as "I".
        grey = np.rint(np.asarray(image).astype(np.float64) / 257).clip(0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImageError("32-bit samples, whose range is unknown; convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
