"""Members of an uncompressed tar archive: names, places and sizes, from the headers alone.

The standard library's tarfile does the same at a quarter of the speed: it makes an object of every field.
Formats: POSIX ustar and pax, GNU, and the old one without a magic word; links and folders are passed over.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = 512
FILES = (b"0", b"\0", b"7")
LONG_NAME, PAX = b"L", b"x"
BINARY_SIZE = 0x80
GZIP_START = b"\x1f\x8b"
NO_CHECKSUM = b" " * 8


class TarError(Exception):
    """The archive is cut short or no uncompressed tar; the message says where."""


class Member(NamedTuple):
    """A file in an archive: where its header and its bytes start."""

    name: str
    header: int
    start: int
    size: int


class Header(NamedTuple):
    """What a block of 512 bytes says of the member that follows it."""

    name: bytes
    size: int
    kind: bytes


def members(archive: BinaryIO) -> Iterator[Member]:
    """The files of an archive in their order; what lies between the headers is not read.

    Raises: TarError: the archive ends within a member or without tar's end mark, or has no header where one
        belongs.
    """
    at, name, size = 0, None, None  # name, size: what an extended header says of the next member
    while True:
        archive.seek(at)
        header = parse_header(archive.read(BLOCK_BYTES), at)
        if header is None:
            return
        start = at + BLOCK_BYTES
        length = header.size if size is None else size
        if header.kind == LONG_NAME:
            name = archive.read(length).rstrip(b"\0")
        elif header.kind == PAX:
            try:
                name, size = _pax(archive.read(length), name)
            except ValueError:
                raise TarError(f"broken pax header at byte {at:,}") from None
        else:
            if header.kind in FILES:
                yield Member(_text(header.name if name is None else name, at), at, start, length)
            name, size = None, None
        at = start + -(-length // BLOCK_BYTES) * BLOCK_BYTES


def parse_header(block: bytes, at: int) -> Header | None:
    """A header; None: the end mark, a block of zeros.

    Raises: TarError: cut short, compressed, or no header. ``at`` is for the message.
    """
    if len(block) < BLOCK_BYTES:
        raise TarError(f"cut short before byte {at + BLOCK_BYTES:,}: tar's end mark is missing")
    if block[0] == 0 and block.count(0) == BLOCK_BYTES:
        return None
    # adler32's lower half is the sum of the bytes + 1, modulo 65,521: a checksum at the speed of C.
    rest = zlib.adler32(block[156:], zlib.adler32(NO_CHECKSUM, zlib.adler32(block[:148])))
    try:
        if (int(block[148:156].strip(b" \0"), 8) + 1) % 65521 != rest & 0xFFFF:
            raise ValueError
        # Sizes beyond 8 GB are written in binary.
        binary = block[124] == BINARY_SIZE
        size = (
            int.from_bytes(block[125:136], "big") if binary else int(block[124:136].strip(b" \0") or b"0", 8)
        )
    except ValueError:
        if block[:2] == GZIP_START:
            raise TarError("compressed by gzip: unpack it") from None
        what = "no tar header" if at else "no uncompressed tar"
        raise TarError(f"{what} at byte {at:,}") from None
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return Header(name, size, block[156:157])


def _pax(records: bytes, name: bytes | None) -> tuple[bytes | None, int | None]:
    """Path and size of the next member, where a pax header ("length key=value" lines) has them."""
    size = None
    while records:
        length = int(records.partition(b" ")[0])
        if length < 1:
            raise ValueError
        key, _, value = records[:length].partition(b" ")[2].removesuffix(b"\n").partition(b"=")
        if key == b"path":
            name = value
        elif key == b"size":
            size = int(value)
        records = records[length:]
    return name, size


def _text(name: bytes, at: int) -> str:
    try:
        return name.decode().removeprefix("./")
    except UnicodeDecodeError:
        raise TarError(f"name {name!r} at byte {at:,} is not UTF-8") from None
