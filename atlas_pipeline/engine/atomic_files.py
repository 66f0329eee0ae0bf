"""Files that are whole or not there: written aside, synced, renamed; to an object store sent in one piece."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from atlas_pipeline.engine.location import Location, content_of, disk_errors, put

_DIGEST_BYTES = 16


@contextmanager
def atomic_file(path: Location) -> Iterator[DigestingFile]:
    """A file that appears under its name only when the block ends well; else nothing is left behind.

    Raises: ResourceError: disk full, read-only, not permitted, or the store cannot be reached.
    """
    if not isinstance(path, Path):
        # In memory: what is written was there uncompressed, and a killed run leaves nothing to sweep.
        buffer = io.BytesIO()
        yield DigestingFile(buffer)
        put(path, buffer.getvalue())
        return
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


def sync_folder(folder: Location) -> None:
    """Make the names in a folder outlive a power cut; before a manifest is written that lists them."""
    if not isinstance(folder, Path):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Location) -> None:
    """Remove what killed runs left half written. Only under the folder's lock."""
    if not isinstance(folder, Path):
        return
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def sweep_aside(path: Location) -> None:
    """Remove what killed processes left half written of one file. Only while nobody else writes it."""
    if isinstance(path, Path):
        with disk_errors(path):
            for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)


def file_digest(path: Location) -> str:
    """blake2b of the file's bytes, 32 hex digits."""
    if not isinstance(path, Path):
        return hashlib.blake2b(content_of(path), digest_size=_DIGEST_BYTES).hexdigest()
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
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)
