"""Members of an uncompressed tar archive: plain files are parsed here, others by the standard library."""

from __future__ import annotations

import posixpath
import tarfile
import zlib
from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple

BLOCK_BYTES = tarfile.BLOCKSIZE
GZIP_SIGNATURE = b"\x1f\x8b"
# Byte ranges of header fields.
NAME, SIZE, CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)
# Keys of an extended header that override the name, size or kind in the next header.
OVERRIDING_KEYS = (b"path=", b"size=", b"sparse", b"charset=")
MAX_EXTENSION_BYTES = 4096
ADLER_PRIME = 65521
ZERO_READ_BYTES = 1 << 20


class TarError(Exception):
    """The archive is truncated, or is not an uncompressed tar; the message gives the position."""


class Member(NamedTuple):
    """A file in an archive: the positions of its header and of its bytes.

    problem: why its bytes cannot be read; None if they can. target: the name that an unresolved link points
    to.
    """

    name: str
    header: int
    start: int
    size: int
    problem: str | None = None
    target: str | None = None


def members(archive: BinaryIO) -> Iterator[Member]:
    """List an archive's members except folders, in order; only headers are read.

    A link becomes the file that it points to, under the link's name. Concatenated archives are all read.

    Raises: TarError: the archive ends within a member or without tar's end mark, or has no header where one
            should be.
    """
    files: dict[str, Member] | None = None
    for member in _listed(archive):
        if member.target is None:
            yield member
            continue
        if files is None:
            # Kept only for archives with links: a million members take a quarter of a gigabyte.
            files = {other.name: other for other in _listed(archive)}
        yield _resolved(member, files)


def _resolved(link: Member, files: dict[str, Member]) -> Member:
    found: Member | None = link
    passed = set[str]()
    while found is not None and found.target is not None and found.target not in passed:
        passed.add(found.target)
        found = files.get(found.target)
    if found is None or found.target is not None:
        return link._replace(problem="link to no file of its archive", target=None)
    return found._replace(name=link.name)


def _listed(archive: BinaryIO) -> Iterator[Member]:
    """As ``members``, with links unresolved."""
    archive.seek(0)
    if archive.read(2) == GZIP_SIGNATURE:
        raise TarError("compressed by gzip: unpack it")
    start: int | None = 0
    while start is not None:
        end = yield from _one_archive(archive, start)
        start = _after_zeros(archive, end)
        if start is not None and not _is_header(archive, start):
            yield Member(f"byte {start:,}", start, start, 0, "bytes after the archive's end mark")
            return


def _one_archive(archive: BinaryIO, at: int) -> Generator[Member, None, int]:
    """List the members of the archive that starts at ``at``.

    Returns: the position of its end mark.
    """
    archive.seek(at)
    try:
        with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="strict") as tar:
            while (found := tar.next()) is not None:
                # tarfile keeps every member, a gigabyte for a million of them.
                tar.members.clear()  # type: ignore[attr-defined]
                if tar.offset <= at:
                    break  # a negative size: Python before 3.13.6 would loop forever
                at = tar.offset
                if not found.isdir():
                    yield _member(found)
                while (member := _plain_member(archive, at)) is not None:
                    at = member.start + _padded(member.size)
                    yield member
                tar.offset = at
    except tarfile.TarError:
        pass  # reported below, with its position
    except UnicodeDecodeError as error:
        raise TarError(f"a name after byte {at:,} is not UTF-8: pack it with names that are") from error
    _check_end(archive, at)
    return at


def _member(found: tarfile.TarInfo) -> Member:
    # The member's own header comes right before its bytes; `offset` may be that of an extended header.
    start = found.offset_data
    name, problem, target = _clean(found.name), None, None
    if found.issparse():
        problem = "sparse member (pack it without --sparse)"
    elif found.islnk():
        target = _clean(found.linkname)
    elif found.issym():
        target = _clean(posixpath.join(posixpath.dirname(name), found.linkname))
    elif not found.isreg():
        problem = "no regular file"
    return Member(name, start - BLOCK_BYTES, start, found.size, problem, target)


def _clean(name: str) -> str:
    return posixpath.normpath(name) if "./" in name else name


def _after_zeros(archive: BinaryIO, at: int) -> int | None:
    """The first block from ``at`` on that is not all zeros; None if there is none."""
    archive.seek(at)
    while piece := archive.read(ZERO_READ_BYTES):
        rest = piece.lstrip(b"\0")
        if rest:
            return (at + len(piece) - len(rest)) // BLOCK_BYTES * BLOCK_BYTES
        at += len(piece)
    return None


def _is_header(archive: BinaryIO, at: int) -> bool:
    archive.seek(at)
    try:
        tarfile.TarInfo.frombuf(archive.read(BLOCK_BYTES), "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _plain_member(archive: BinaryIO, at: int) -> Member | None:
    """The file whose header is at ``at``; None: leave it to the standard library.

    The standard library takes a minute for the headers of a million images, mostly for fields that are not
    needed here. An extended header with times only, which Python writes before every member, is skipped.
    """
    archive.seek(at)
    block = archive.read(BLOCK_BYTES)
    extension_size = _size(block, tarfile.XHDTYPE)
    if extension_size is not None:
        extension = archive.read(_padded(min(extension_size, MAX_EXTENSION_BYTES)))
        if extension_size > MAX_EXTENSION_BYTES or any(key in extension for key in OVERRIDING_KEYS):
            return None
        at += BLOCK_BYTES + len(extension)
        block = archive.read(BLOCK_BYTES)
    size = _size(block, tarfile.REGTYPE)
    if size is None:
        return None
    name, _, rest = block[NAME].partition(b"\0")
    # A long name continues in another field; in old archives a folder is a file whose name ends in a slash.
    if rest.strip(b"\0") or len(name) == 100 or block[345] or not name.isascii() or name.endswith(b"/"):
        return None
    return Member(_clean(name.decode()), at, at + BLOCK_BYTES, size)


def _size(block: bytes, kind: bytes) -> int | None:
    """Size in bytes of the member with the header ``block``, if its kind and checksum are right."""
    if len(block) < BLOCK_BYTES or block[156:157] != kind:
        return None
    try:
        size = int(block[SIZE].rstrip(b" \0"), 8)
        checksum = int(block[CHECKSUM].rstrip(b" \0"), 8)
    except ValueError:
        return None
    # The checksum is the sum of all bytes with its own field as blanks. The lower half of Adler-32 is that
    # sum plus one, modulo a prime, and is twenty times as fast as `sum`.
    total = checksum + sum(block[CHECKSUM]) - 8 * ord(" ")
    is_right = zlib.adler32(block) & 0xFFFF == (total + 1) % ADLER_PRIME
    return size if is_right and size >= 0 else None


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _check_end(archive: BinaryIO, at: int) -> None:
    """Check for tar's end mark where tarfile found no more members; it accepts anything as an end."""
    archive.seek(at)
    block = archive.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        raise TarError(f"cut short before byte {at + BLOCK_BYTES:,}: tar's end mark is missing")
    if any(block):
        raise TarError(f"{'no tar header' if at else 'no uncompressed tar'} at byte {at:,}")


def size_of_member(block: bytes, at: int) -> int:
    """Size in bytes of the member with the header ``block``; ``at`` is its position, for the message.

    Raises: TarError: no header.
    """
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
    except tarfile.TarError as error:
        raise TarError(f"no member at byte {at:,}: it changed since it was listed") from error
