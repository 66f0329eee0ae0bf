"""Data files as scripts: a page at file:// may run scripts, but may not fetch files.

A script calls ``atlas.receive`` with plain JSON. Arrays in it are deflated and base64-encoded, and pictures
are base64-encoded WebP. Pictures are in scripts too, because a canvas onto which a file was drawn cannot be
saved.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

# Names of the browser's typed arrays, by kind and size of the numpy dtype.
_TYPES = {"u1": "Uint8", "i1": "Int8", "u2": "Uint16", "i2": "Int16", "u4": "Uint32", "i4": "Int32"}
# WebP qualities. Icons are the atlas itself; patches are many, and only need to be recognisable.
ICON_QUALITY, PATCH_QUALITY = 82, 70


def script(value: Any) -> bytes:
    """A file that passes a JSON value to the viewer; ASCII only, so that its encoding is unambiguous."""
    return f"atlas.receive({json.dumps(value, allow_nan=False, separators=(',', ':'))});\n".encode()


def packed(values: ArrayLike) -> dict[str, str]:
    """An array of integers as ``{"type", "data"}`` for a script, flattened and little-endian.

    Raises: ValueError: a dtype for which browsers have no typed array.
    """
    array = np.asarray(values)
    name = f"{array.dtype.kind}{array.dtype.itemsize}"
    if name not in _TYPES:
        raise ValueError(f"dtype {array.dtype} cannot be packed; convert to one of {', '.join(_TYPES)}")
    raw = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return {"type": _TYPES[name], "data": _base64(zlib.compress(raw, 9))}


def picture(pixels: NDArray[np.uint8], quality: int = ICON_QUALITY) -> str:
    """A (height, width, 3 or 4) uint8 picture as base64-encoded WebP."""
    return _base64(webp(pixels, quality))


def webp(pixels: NDArray[np.uint8], quality: int = ICON_QUALITY) -> bytes:
    """A (height, width, 3 or 4) uint8 picture as WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
