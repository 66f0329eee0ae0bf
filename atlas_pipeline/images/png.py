"""PNG files with metadata beyond Pillow's limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pillow's own limits: for one text or profile, and for all texts of a file.
MAX_TEXT_BYTES = 1 << 20
MAX_ALL_TEXT_BYTES = 16 << 20
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_large_texts(raw: bytes) -> bytes:
    """A PNG file without the texts and colour profiles that unpack to more than MAX_TEXT_BYTES.

    Pixels do not depend on them, since profiles are not applied. Unpacking stops at the limit.
    """
    kept, num_bytes = [PNG_SIGNATURE], 0
    for kind, chunk in _chunks(raw):
        if kind in TEXTS:
            size = _unpacked_size(kind, chunk[8:-4])
            if size > MAX_TEXT_BYTES or num_bytes + size > MAX_ALL_TEXT_BYTES:
                continue
            num_bytes += size
        kept.append(chunk)
    return b"".join(kept)


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and full bytes (length, kind, content, checksum) of every chunk; the last may be truncated."""
    at = len(PNG_SIGNATURE)
    while at < len(raw):
        end = at + 12 + int.from_bytes(raw[at : at + 4], "big")
        yield raw[at + 4 : at + 8], raw[at:end]
        at = end


def _unpacked_size(kind: bytes, content: bytes) -> int:
    """Size of a text or profile, unpacked, in bytes; counting stops just beyond MAX_TEXT_BYTES."""
    _, _, rest = content.partition(b"\0")
    is_packed = kind in (b"zTXt", b"iCCP")
    if kind == b"iTXt":
        is_packed = rest[:1] == b"\1"
        # Skip two flag bytes, a language and a translated keyword.
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif is_packed:
        rest = rest[1:]
    if not is_packed:
        return len(content)
    try:
        return len(zlib.decompressobj().decompress(rest, MAX_TEXT_BYTES + 1))
    except zlib.error:
        return len(content)
