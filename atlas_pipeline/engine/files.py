"""Files that are whole or not there: written aside, synced, renamed. Disk trouble becomes one clear line."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from atlas_pipeline.errors import ResourceError

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than is allowed; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another workspace",
    errno.EACCES: "permission denied; change the permissions or choose another workspace",
    errno.EPERM: "not permitted; change the permissions or choose another workspace",
}


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """What the user can mend becomes a ResourceError; any other OSError goes on as it is."""
    try:
        yield
    except OSError as error:
        cause = _CAUSES.get(error.errno or 0)
        if cause is None:
            raise
        raise ResourceError(
            f"cannot write {place}: {cause}, then run again (what is finished is kept)"
        ) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[DigestingFile]:
    """A file that appears under its name only when the block ends well; else nothing is left behind.

    Raises: ResourceError: disk full, read-only, or not permitted.
    """
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_aside(aside) as raw:
                yield DigestingFile(raw)
                raw.flush()
                os.fsync(raw.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def open_aside(path: Path) -> IO[bytes]:
    """Opens the file that is written aside. Apart, so that a test can put a full disk in its place."""
    return open(path, "xb")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a power cut; before a manifest is written that lists them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed runs left half written. Only under the folder's lock."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """blake2b of the file's bytes, 32 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _new_digest).hexdigest()


class DigestingFile(io.RawIOBase):
    """Passes bytes on and digests them on the way, so that nothing is read back for it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._digest = _new_digest()
        self.num_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        self._digest.update(chunk)
        written = self._raw.write(chunk)
        self.num_bytes += written
        return written

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
