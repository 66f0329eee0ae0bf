"""Digests that identify an image's bytes without reading all of them."""

from __future__ import annotations

import hashlib
import os

from atlas_pipeline.errors import ImagesError

DIGEST_BYTES = 16
WHOLE_BYTES = 64 << 10
PIECE_BYTES = 4 << 10


def sampled_digest(descriptor: int, start: int, size: int, num_pieces: int = 3) -> bytes:
    """blake2b-128 of the size and of 4 KiB pieces, evenly spaced from the first bytes to the last.

    Up to 64 KiB, every byte counts. In larger files, an in-place change that keeps the size and misses the
    pieces goes unnoticed; a changed compressed image rarely keeps its size.

    Args:
        descriptor: an open file.
        start, size: position and number of the bytes in it.
        num_pieces: at least 2.
    Raises: EOFError: the file ends too early. OSError: it cannot be read.
    """
    digest = hashlib.blake2b(size.to_bytes(8, "little"), digest_size=DIGEST_BYTES)
    if size <= WHOLE_BYTES:
        digest.update(read_exactly(descriptor, start, size))
    else:
        for i in range(num_pieces):
            piece = start + (size - PIECE_BYTES) * i // (num_pieces - 1)
            digest.update(read_exactly(descriptor, piece, PIECE_BYTES))
    return digest.digest()


def text_digest(text: str) -> str:
    """blake2b-128 of UTF-8 text, as hex."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def file_digest(file: str) -> str:
    """``sampled_digest`` of an image file, as hex.

    Raises: ImagesError: the file cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return sampled_digest(descriptor, 0, os.fstat(descriptor).st_size).hex()
        finally:
            os.close(descriptor)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"image '{file}' cannot be read ({reason}); make it readable or remove it"
        ) from error


def read_exactly(descriptor: int, start: int, size: int) -> bytes:
    """Read ``size`` bytes from ``start``.

    Raises: EOFError: the file ends too early.
    """
    raw = os.pread(descriptor, size, start)
    while len(raw) < size:  # a read returns at most 2 GiB
        more = os.pread(descriptor, size - len(raw), start + len(raw))
        if not more:
            raise EOFError(f"ends at byte {start + len(raw):,}, before byte {start + size:,}")
        raw += more
    return raw
