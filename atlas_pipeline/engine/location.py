"""Locations of files: a local folder or a URL; this module hides the differences.

Credentials and endpoints of a URL come from fsspec's own environment variables and config files.
"""

from __future__ import annotations

import errno
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeAlias

from upath import UPath

from atlas_pipeline.errors import ConfigError, ResourceError
from atlas_pipeline.extras import install_command

Location: TypeAlias = Path | UPath
"""A plain `Path` for local file systems, else a `UPath` (which is not a `Path`)."""

# Optional dependencies of this package that install the support for a protocol.
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than is allowed; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another workspace",
    errno.EACCES: "permission denied; change the permissions or choose another workspace",
    errno.EPERM: "not permitted; change the permissions or choose another workspace",
}
# The clients of object stores share no base class of errors.
_CLIENTS = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "urllib3"}
_SECOND_NS = 10**9
# Keys that stores use for the modification time: s3fs; gcsfs, sftp; adlfs.
_MODIFIED = ("LastModified", "mtime", "last_modified")


def location_of(workspace: str | Location) -> Location:
    """Convert a path (with `~` as the home), a `file://` URL or any other URL to a `Path` or `UPath`.

    Raises: ConfigError: the protocol is unknown. ResourceError: its package is not installed.
    """
    if not isinstance(workspace, str) or "://" not in workspace:
        return Path(workspace).expanduser() if isinstance(workspace, str) else workspace
    protocol = re.split(r"::|://", workspace)[0]
    try:
        # No listing cache: other machines write to the same location.
        location = UPath(workspace, use_listings_cache=False)
        _ = location.fs
    except ImportError as error:
        remedy = f"it with: {install_command(_EXTRAS[protocol])}" if protocol in _EXTRAS else f"it ({error})"
        raise ResourceError(f"'{workspace}' needs a package for {protocol}://; install {remedy}") from error
    except ValueError as error:
        raise ConfigError(
            f"'{workspace}': no file system is called {protocol}://; give a path, or e.g. s3://bucket/folder"
        ) from error
    return Path(location.path) if protocol in ("file", "local") else location


def refuse_unreachable(location: Location) -> None:
    """Raises: ResourceError: the URL does not answer, or its bucket does not exist or may not be used."""
    if isinstance(location, Path) or not location.drive:
        return
    with disk_errors(location):
        try:
            location.fs.info(location.drive)
        except FileNotFoundError as error:
            raise ResourceError(
                f"{location}: there is no bucket '{location.drive}'; create it, or choose another workspace"
            ) from error


@contextmanager
def disk_errors(location: Location) -> Iterator[None]:
    """Turn errors that the user can fix into a ResourceError; other errors pass through."""
    try:
        yield
    except Exception as error:
        cause = _cause(location, error)
        if cause is None:
            raise
        verb = "write" if isinstance(location, Path) else "use"
        raise ResourceError(
            f"cannot {verb} {location}: {cause}, then run again (what is finished is kept)"
        ) from error


def _cause(location: Location, error: Exception) -> str | None:
    known = _CAUSES.get(error.errno or 0) if isinstance(error, OSError) else None
    if known is not None or isinstance(location, Path) or isinstance(error, FileNotFoundError):
        return known
    # A plain OSError without an errno comes from pyarrow and means a damaged file.
    from_store = isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError)
    if from_store or type(error).__module__.partition(".")[0] in _CLIENTS:
        message = " ".join(str(error).split()) or type(error).__name__
        return f"{message}; check address, credentials and network"
    return None


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and modification time of a file; 0 if the store gives no time."""

    num_bytes: int
    mtime_ns: int


def state_of(path: Location) -> FileState:
    """Size and time of a file. Raises: FileNotFoundError. ResourceError: the store cannot be reached."""
    with disk_errors(path):
        return _state(path.stat())


def states_in(folder: Location) -> dict[str, FileState]:
    """Sizes and times of a folder's files by name, from one listing; empty if there is no folder."""
    with disk_errors(folder), suppress(FileNotFoundError, NotADirectoryError):
        if isinstance(folder, Path):
            return {path.name: _state(path.stat()) for path in folder.iterdir() if path.is_file()}
        listed = folder.fs.ls(folder.path, detail=True)
        files = [entry for entry in listed if entry["type"] == "file"]
        return {entry["name"].rpartition("/")[2]: _entry_state(entry) for entry in files}
    return {}


def _state(stat: Any) -> FileState:
    if hasattr(stat, "as_info"):
        return _entry_state(stat.as_info())
    return FileState(stat.st_size, stat.st_mtime_ns)


def _entry_state(entry: dict[str, Any]) -> FileState:
    modified = next((entry[key] for key in _MODIFIED if entry.get(key)), 0)
    seconds = modified.timestamp() if isinstance(modified, datetime) else modified
    # Round to whole seconds: a listing may report milliseconds where a single query does not.
    return FileState(entry["size"], int(seconds) * _SECOND_NS)


def content_of(path: Location) -> bytes:
    """The bytes of a file. Raises: FileNotFoundError. ResourceError: the store cannot be reached."""
    with disk_errors(path):
        return path.read_bytes() if isinstance(path, Path) else path.fs.cat_file(path.path)


@contextmanager
def source_of(path: Location) -> Iterator[Path | IO[bytes]]:
    """A source for pyarrow; of an object only the requested bytes are fetched."""
    if isinstance(path, Path):
        yield path
        return
    with disk_errors(path), path.fs.open(path.path, "rb", cache_type="none") as file:
        yield file


def full_source(path: Location) -> Path | IO[bytes]:
    """A source for reading the whole file; an object is fetched once, into memory."""
    return path if isinstance(path, Path) else io.BytesIO(content_of(path))


def put(path: Location, content: bytes) -> None:
    """Write an object; stores only show complete ones. Raises: ResourceError: the store cannot be reached."""
    assert not isinstance(path, Path)
    with disk_errors(path):
        try:
            path.fs.pipe_file(path.path, content)
        except FileNotFoundError:
            # Some URLs point to real folders, which must exist.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.fs.pipe_file(path.path, content)


def remove_folder(folder: Location) -> None:
    """Remove a folder and its contents, if it exists."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with disk_errors(folder), suppress(FileNotFoundError):
        folder.fs.rm(folder.path, recursive=True)
