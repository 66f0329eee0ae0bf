"""A PNG written from the top, band by band, for pictures that are too large to be held.

A PNG is one stream of compressed rows (W3C, Portable Network Graphics, third edition, 7 and 10). Each band is
compressed for itself, on a thread: it ends on a byte, and begins without looking back (RFC 1951, 3.2.4; what
zlib calls a synchronised flush), so that the bands' bytes put together are that stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from atlas_pipeline.pictures.in_order import in_order

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS, _RGB, _BITS = 3, 2, 8
# The head of a zlib stream (RFC 1950): deflate, a window of 32 kB, the usual level.
_ZLIB_HEAD = b"\x78\x9c"
_SUB, _UP, _AVERAGE = 1, 2, 3


def png_pieces(
    bands: Iterable[NDArray[np.uint8]],
    width: int,
    height: int,
    text: Mapping[str, str],
    num_threads: int = 1,
) -> Iterator[bytes]:
    """The bytes of a PNG file, piece by piece: some before the first band, then a piece a band.

    Args:    bands: (rows, width, 3) each, from the top; the same rows in other bands are the same picture,
             not the same bytes. width, height: of the whole, pixels. text: see ``text_chunks``.
             num_threads: that compress; of no influence on the bytes.
    Raises:  ValueError: bands that do not add up to the picture; a keyword that PNG does not allow.
    """
    yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _BITS, _RGB, 0, 0, 0))
    yield b"".join(_chunk(kind, body) for kind, body, *_ in text_chunks(text).chunks)
    yield _chunk(b"IDAT", _ZLIB_HEAD)
    checksum, num_rows = zlib.adler32(b""), 0
    for rows, compressed in in_order(_compressed, bands, num_threads):
        if len(rows[0]) != 1 + width * _CHANNELS:
            raise ValueError(f"a band is {(len(rows[0]) - 1) // _CHANNELS} pixels wide, the picture {width}")
        checksum, num_rows = zlib.adler32(rows.data, checksum), num_rows + len(rows)
        yield _chunk(b"IDAT", compressed)
    if num_rows != height:
        raise ValueError(f"the bands have {num_rows} rows of pixels, the picture {height}")
    yield _chunk(b"IDAT", zlib.compressobj(wbits=-zlib.MAX_WBITS).flush() + struct.pack(">I", checksum))
    yield _chunk(b"IEND", b"")


def text_chunks(text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    """Text chunks, keyword to value; a keyword has 1 to 79 Latin-1 characters, as the format wants it.

    Raises: ValueError: a keyword that PNG does not allow.
    """
    chunks = PngImagePlugin.PngInfo()
    for keyword, value in text.items():
        if not 1 <= len(keyword) <= 79 or keyword != keyword.strip() or not keyword.isprintable():
            raise ValueError(
                f"'{keyword}' cannot be a PNG keyword: 1 to 79 printable characters, no outer spaces"
            )
        chunks.add_text(keyword, value)
    return chunks


def _compressed(band: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bytes]:
    """The band's rows as they are checksummed, each after its filter's number, and compressed."""
    rows = _filtered(band)
    # Runs alone: of filtered icons little else repeats, and to look for it takes four times as long.
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS, strategy=zlib.Z_RLE)
    return rows, stream.compress(rows.data) + stream.flush(zlib.Z_SYNC_FLUSH)


def _filtered(band: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row as its difference from the pixels to the left, from those above or from the mean of the two.

    Whichever is the smallest; the first row looks to the left, for what is above it is another band's.
    """
    pixels = band.reshape(len(band), -1)
    left, up = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, _CHANNELS:], up[1:] = pixels[:, :-_CHANNELS], pixels[:-1]
    # The mean of two bytes, rounded down, without a ninth bit.
    mean = (left & up) + ((left ^ up) >> 1)
    rows = np.empty((len(band), 1 + pixels.shape[1]), np.uint8)
    least = np.full(len(band), np.iinfo(np.int64).max)
    for kind, guess in ((_SUB, left), (_UP, up), (_AVERAGE, mean)):
        difference = pixels - guess
        # Of 255, which is a difference of -1, the size is 1.
        size = np.minimum(difference, -difference).sum(axis=1, dtype=np.int64)
        smaller = size < least
        if kind != _SUB:
            smaller[0] = False
        least[smaller] = size[smaller]
        rows[smaller, 0], rows[smaller, 1:] = kind, difference[smaller]
    return rows


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
