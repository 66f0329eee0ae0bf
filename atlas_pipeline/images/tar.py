"""Members of an uncompressed tar archive: plain ones read here, all others by the standard library."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = tarfile.BLOCKSIZE
GZIP_START = b"\x1f\x8b"
# Fields of a header.
NAME, SIZE, CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)
# What an extended header may say that makes the next one another member than it says itself.
TELLING = (b"path=", b"size=", b"sparse", b"charset=")
MAX_EXTENSION_BYTES = 4096


class TarError(Exception):
    """The archive is cut short or no uncompressed tar; the message says where."""


class Member(NamedTuple):
    """A file in an archive: where its header and its bytes start."""

    name: str
    header: int
    start: int
    size: int


def members(archive: BinaryIO) -> Iterator[Member]:
    """The files of an archive in their order; what lies between the headers is not read.

    Raises: TarError: the archive ends within a member or without tar's end mark, or has no header where one
        belongs.
    """
    compressed = archive.read(2) == GZIP_START
    archive.seek(0)
    if compressed:
        raise TarError("compressed by gzip: unpack it")
    at = 0
    try:
        with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="strict") as tar:
            while (found := tar.next()) is not None:
                # It keeps every member: at a million they would be a gigabyte.
                tar.members.clear()  # type: ignore[attr-defined]
                if tar.offset <= at:
                    break  # a negative size, which Python before 3.13.6 follows in a circle
                at = tar.offset
                if found.isreg():
                    yield _member(found)
                while (member := _plain_member(archive, at)) is not None:
                    at = member.start + _padded(member.size)
                    yield member
                tar.offset = at
    except tarfile.TarError:
        pass  # named below, with its place
    except UnicodeDecodeError as error:
        raise TarError(f"a name after byte {at:,} is not UTF-8") from error
    _check_end(archive, at)


def _member(found: tarfile.TarInfo) -> Member:
    # Its own header stands just before its bytes; `offset` is that of an extended one, where there is one.
    start = found.offset_data
    return Member(found.name.removeprefix("./"), start - BLOCK_BYTES, start, found.size)


def _plain_member(archive: BinaryIO, at: int) -> Member | None:
    """The file whose header is at ``at``; None: the standard library is to read it.

    Of a million images that one takes a minute to read the headers, most of it for fields that nothing here
    needs. An extended header that only tells the time, as Python writes before every member, is stepped over.
    """
    archive.seek(at)
    block = archive.read(BLOCK_BYTES)
    extension_size = _size(block, tarfile.XHDTYPE)
    if extension_size is not None:
        extension = archive.read(_padded(min(extension_size, MAX_EXTENSION_BYTES)))
        if extension_size > MAX_EXTENSION_BYTES or any(key in extension for key in TELLING):
            return None
        at += BLOCK_BYTES + len(extension)
        block = archive.read(BLOCK_BYTES)
    size = _size(block, tarfile.REGTYPE)
    if size is None:
        return None
    name, _, rest = block[NAME].partition(b"\0")
    # A long name goes on in another field; a folder of old is a file whose name ends in a slash.
    if any(rest) or len(name) == 100 or block[345] or not name.isascii() or name.endswith(b"/"):
        return None
    return Member(name.decode().removeprefix("./"), at, at + BLOCK_BYTES, size)


def _size(block: bytes, kind: bytes) -> int | None:
    """Bytes of the member whose header is ``block``, where it is of that kind and its checksum is right."""
    if len(block) < BLOCK_BYTES or block[156:157] != kind:
        return None
    try:
        size, checksum = (int(block[field].rstrip(b" \0"), 8) for field in (SIZE, CHECKSUM))
    except ValueError:
        return None
    # The checksum counts its own field as blanks.
    is_right = sum(block) - sum(block[CHECKSUM]) + 8 * ord(" ") == checksum
    return size if is_right and size >= 0 else None


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _check_end(archive: BinaryIO, at: int) -> None:
    """Hold against tar's end mark what stands where tarfile found no more; it takes anything for an end."""
    archive.seek(at)
    block = archive.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        raise TarError(f"cut short before byte {at + BLOCK_BYTES:,}: tar's end mark is missing")
    if any(block):
        raise TarError(f"{'no tar header' if at else 'no uncompressed tar'} at byte {at:,}")


def size_of_member(block: bytes, at: int) -> int:
    """Bytes of the member whose header is ``block``. ``at`` is for the message.

    Raises: TarError: there is no header.
    """
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
    except tarfile.TarError as error:
        raise TarError(f"no member at byte {at:,}: it changed since it was listed") from error
