"""Data as scripts: from file:// a browser runs a script, and refuses to fetch a file.

A script calls ``atlas.receive`` with plain JSON; arrays are deflated and in base64, pictures are WebP in
base64. Pictures are in scripts too, for a canvas that has drawn a file may not be saved.
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

# The browser's typed arrays by numpy's kinds and sizes.
_TYPES = {"u1": "Uint8", "i1": "Int8", "u2": "Uint16", "i2": "Int16", "u4": "Uint32", "i4": "Int32"}
# Of WebP: icons are what the atlas is; patches are there to be recognised, and are many.
ICON_QUALITY, PATCH_QUALITY = 82, 70


def script(value: Any) -> bytes:
    """A file that hands a JSON value to the viewer; ASCII only, so that no encoding can be mistaken."""
    return f"atlas.receive({json.dumps(value, allow_nan=False, separators=(',', ':'))});\n".encode()


def packed(values: ArrayLike) -> dict[str, str]:
    """An array of integers for a script, flat and little-endian: ``{"type", "data"}``.

    Raises: ValueError: a dtype that a browser has no array of.
    """
    array = np.asarray(values)
    name = f"{array.dtype.kind}{array.dtype.itemsize}"
    if name not in _TYPES:
        raise ValueError(f"dtype {array.dtype} cannot be packed; convert to one of {', '.join(_TYPES)}")
    raw = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return {"type": _TYPES[name], "data": _base64(zlib.compress(raw, 9))}


def picture(pixels: NDArray[np.uint8], quality: int = ICON_QUALITY) -> str:
    """A (height, width, 3 or 4) uint8 picture as WebP in base64."""
    return _base64(webp(pixels, quality))


def webp(pixels: NDArray[np.uint8], quality: int = ICON_QUALITY) -> bytes:
    """A (height, width, 3 or 4) uint8 picture as WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
