"""Atomic files: written to a temporary file, synced and renamed; sent to an object store in one request."""

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
    """Open a file for writing that appears under its name only if the block succeeds.

    Raises: ResourceError: disk full, read-only, not permitted, or the store cannot be reached.
    """
    if not isinstance(path, Path):
        # Buffered in memory: the uncompressed content was in memory anyway, and a killed run leaves no file.
        buffer = io.BytesIO()
        yield DigestingFile(buffer)
        put(path, buffer.getvalue())
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_temporary(temporary) as raw:
                yield DigestingFile(raw)
                raw.flush()
                os.fsync(raw.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def open_temporary(path: Path) -> IO[bytes]:
    """Open the temporary file. Separate function, so that a test can simulate a full disk."""
    return open(path, "xb")


def sync_folder(folder: Location) -> None:
    """Sync a folder so that its file names survive a power cut. Call it before writing a manifest."""
    if not isinstance(folder, Path):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporary_files(folder: Location) -> None:
    """Remove the temporary files that killed runs left in a folder. Requires the folder's lock."""
    if not isinstance(folder, Path):
        return
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def remove_temporary_files_of(path: Location) -> None:
    """Remove the temporary files that killed processes left of one file, which nobody may be writing."""
    if isinstance(path, Path):
        with disk_errors(path):
            for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)


def file_digest(path: Location) -> str:
    """blake2b digest of the file's bytes, 32 hex digits."""
    if not isinstance(path, Path):
        return hashlib.blake2b(content_of(path), digest_size=_DIGEST_BYTES).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _new_digest).hexdigest()


class DigestingFile(io.RawIOBase):
    """Writes bytes through to a file and digests them on the way, so that the file need not be read back."""

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
