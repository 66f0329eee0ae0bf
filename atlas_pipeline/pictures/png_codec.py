"""PNG files decoded to arrays, and arrays encoded as PNG files."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa


def pixels(pngs: pa.ChunkedArray) -> np.ndarray:
    """A column of PNG files of the same size -> (image, height, width, 3 or 4) uint8."""
    return np.stack([picture_of(png) for png in pngs.to_pylist()])


def picture_of(png: bytes) -> np.ndarray:
    """A PNG file -> (height, width, 3 or 4) uint8."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)))


def over_ground(images: np.ndarray, level: int) -> np.ndarray:
    """Pictures composited over a uniform grey; opaque ones are returned unchanged.

    Args:    images: (image, height, width, 3 or 4) uint8. level: the grey level, 0 to 255.
    Returns: (image, height, width, 3) uint8.
    """
    if images.shape[-1] == 3:
        return images
    opacity = images[..., 3:].astype(np.float32) / 255
    return np.rint(opacity * images[..., :3] + (1 - opacity) * level).astype(np.uint8)


def png_of(image: np.ndarray) -> bytes:
    """A (height, width, 3 or 4) uint8 image as a PNG file."""
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    return png.getvalue()
