"""A PNG encoder that takes a picture in bands from the top, for pictures too large for memory.

A PNG holds one stream of compressed rows (W3C, Portable Network Graphics, third edition, 7 and 10). Each band
is compressed separately, on a thread. It ends on a byte boundary and refers to no earlier bytes (RFC 1951,
3.2.4; zlib's Z_SYNC_FLUSH), so the compressed bands can be concatenated to one stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import PngImagePlugin

from atlas_pipeline.pictures.ordered_map import ordered_map

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS, _RGB, _BITS = 3, 2, 8
# Header of a zlib stream (RFC 1950): deflate, a window of 32 KiB, the default level.
_ZLIB_HEAD = b"\x78\x9c"
_SUB, _UP, _AVERAGE = 1, 2, 3


def png_pieces(
    bands: Iterable[NDArray[np.uint8]],
    width: int,
    height: int,
    text: Mapping[str, str],
    num_threads: int = 1,
) -> Iterator[bytes]:
    """The bytes of a PNG file in pieces: the header, then one piece per band, then the end.

    Args:    bands: (rows, width, 3) uint8 each, from the top. Splitting the rows into other bands changes
             the bytes, but not the picture. width, height: of the picture, pixels. text: see
             ``text_chunks``. num_threads: threads that compress; the bytes do not depend on it.
    Raises:  ValueError: bands that do not add up to the picture; a keyword that PNG does not allow.
    """
    yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _BITS, _RGB, 0, 0, 0))
    yield b"".join(_chunk(kind, body) for kind, body, *_ in text_chunks(text).chunks)
    yield _chunk(b"IDAT", _ZLIB_HEAD)
    checksum, num_rows = zlib.adler32(b""), 0
    for rows, compressed in ordered_map(_compressed, bands, num_threads):
        if len(rows[0]) != 1 + width * _CHANNELS:
            raise ValueError(f"a band is {(len(rows[0]) - 1) // _CHANNELS} pixels wide, the picture {width}")
        checksum, num_rows = zlib.adler32(rows.data, checksum), num_rows + len(rows)
        yield _chunk(b"IDAT", compressed)
    if num_rows != height:
        raise ValueError(f"the bands have {num_rows} rows of pixels, the picture {height}")
    yield _chunk(b"IDAT", zlib.compressobj(wbits=-zlib.MAX_WBITS).flush() + struct.pack(">I", checksum))
    yield _chunk(b"IEND", b"")


def text_chunks(text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    """The text chunks of a PNG.

    Args:   text: keyword to value; the format requires keywords of 1 to 79 Latin-1 characters.
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
    """The filtered rows of a band, which enter the checksum, and their compressed bytes."""
    rows = _filtered(band)
    # Z_RLE finds only runs. Filtered icons have few other repetitions, and the search for them takes four
    # times as long.
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS, strategy=zlib.Z_RLE)
    return rows, stream.compress(rows.data) + stream.flush(zlib.Z_SYNC_FLUSH)


def _filtered(band: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row with the PNG filter (Sub, Up or Average) that gives the smallest sum of absolute differences.

    The first row uses Sub, because the row above it belongs to another band.

    Args:    band: (row, width, 3) uint8.
    Returns: (row, 1 + 3 width) uint8; the first byte of a row is the number of its filter.
    """
    pixels = band.reshape(len(band), -1)
    left, up = np.zeros_like(pixels), np.zeros_like(pixels)
    left[:, _CHANNELS:], up[1:] = pixels[:, :-_CHANNELS], pixels[:-1]
    # The mean of two bytes, rounded down, computed without overflow.
    mean = (left & up) + ((left ^ up) >> 1)
    rows = np.empty((len(band), 1 + pixels.shape[1]), np.uint8)
    least = np.full(len(band), np.iinfo(np.int64).max)
    for kind, guess in ((_SUB, left), (_UP, up), (_AVERAGE, mean)):
        difference = pixels - guess
        # Differences are modulo 256: 255 stands for -1, whose size is 1.
        size = np.minimum(difference, -difference).sum(axis=1, dtype=np.int64)
        smaller = size < least
        if kind != _SUB:
            smaller[0] = False
        least[smaller] = size[smaller]
        rows[smaller, 0], rows[smaller, 1:] = kind, difference[smaller]
    return rows


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
