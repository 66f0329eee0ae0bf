"""From a file's bytes to 8-bit RGB.

One decoder, Pillow, for every format: torchvision.io gives the same pixels for JPEG at 8 % more images a
second once resizing is counted, knows fewer formats, and takes seconds to import.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from atlas_pipeline.errors import AtlasError

# Not whatever Pillow knows: some of its formats run other programs (EPS) or are no images.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 2**28  # 16,384 x 16,384: 1 GB once decoded
MAX_REASON = 120
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(AtlasError):
    """One image that cannot be used: counted and left out, not the end of a run. The message says why."""


def decode(raw: bytes) -> np.ndarray:
    """Decode an image file.

    JPEG, PNG, WebP, BMP, GIF (the first frame), TIFF, PPM and PGM; grey, palette and CMYK become RGB; 16 bits
    become 8 (v / 257); transparency is laid on white, as a viewer would show it; EXIF orientation is applied.

    Args:    raw: the file's bytes.
    Returns: (height, width, 3) uint8.
    Raises:  BadImageError: no image, cut short, of 32-bit samples, or of more than MAX_PIXELS pixels.
    """
    return np.array(decode_image(raw))


def decode_image(raw: bytes, shorter_px: int | None = None) -> Image.Image:
    """As ``decode``, but a Pillow image, ready for ``preprocess.fit``.

    Args: shorter_px: what the shorter side will be resized to. A JPEG of at least four times that is decoded
        at a half, a quarter or an eighth of its size, never below twice ``shorter_px``: faster, and the same
        for the same bytes.
    """
    if not raw:
        raise BadImageError("empty file")
    try:
        with _quiet_pillow(), Image.open(io.BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadImageError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            if shorter_px is not None and image.format == "JPEG":
                image.draft(None, (2 * shorter_px, 2 * shorter_px))
            image.load()
            return _rgb(_upright(image))
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImageError("not an image of a known format") from None
    # Whatever a decoder raises over broken bytes (OSError, SyntaxError, struct.error, ...): the image is bad.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadImageError(reason[:MAX_REASON]) from error


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


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation: Any = image.getexif().get(ORIENTATION_TAG)
    except Exception:
        return image  # broken EXIF says nothing about the pixels
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


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
