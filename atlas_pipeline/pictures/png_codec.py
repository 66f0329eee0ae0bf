"""PNG files decoded to arrays, and arrays encoded as PNG files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def pixels(pngs: pa.ChunkedArray, num_threads: int = 1) -> np.ndarray:
    """A column of PNG files of the same size -> (image, height, width, 3 or 4) uint8."""
    return np.stack(_in_threads(picture_of, pngs.to_pylist(), num_threads))


def pngs_of(images: np.ndarray, num_threads: int = 1) -> list[bytes]:
    """(image, height, width, 3 or 4) uint8 -> a PNG file for each, as `png_of` makes it."""
    return _in_threads(png_of, images, num_threads)


def _in_threads(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], num_threads: int
) -> list[ResultT]:
    """The results in order. The codec releases the interpreter lock, so threads run side by side."""
    if num_threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(num_threads, thread_name_prefix="png") as pool:
        return list(pool.map(function, items))


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
