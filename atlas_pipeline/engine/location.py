"""Where files lie: a folder of a file system, or a URL. What differs between the two is here.

A URL's credentials and endpoint are fsspec's own: environment variables and its config files; none of ours.
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

Location: TypeAlias = Path | UPath
"""A plain `Path` where it is of this machine's file systems; else a `UPath`, which is none."""

# Packages that speak fsspec's protocols, with an extra of ours.
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is larger than is allowed; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; choose another workspace",
    errno.EACCES: "permission denied; change the permissions or choose another workspace",
    errno.EPERM: "not permitted; change the permissions or choose another workspace",
}
# The clients of object stores have no base class of errors in common.
_CLIENTS = {"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "urllib3"}
_SECOND_NS = 10**9
# What stores call the time of modification: s3fs; gcsfs, sftp; adlfs.
_MODIFIED = ("LastModified", "mtime", "last_modified")


def location_of(workspace: str | Location) -> Location:
    """A path as it is (`~` is the home), `file://...` as its path, any other URL as a `UPath`.

    Raises: ConfigError: a protocol that nobody here speaks. ResourceError: its package is not installed.
    """
    if not isinstance(workspace, str) or "://" not in workspace:
        return Path(workspace).expanduser() if isinstance(workspace, str) else workspace
    protocol = re.split(r"::|://", workspace)[0]
    try:
        # Listings are asked for anew: other machines write to the same place.
        place = UPath(workspace, use_listings_cache=False)
        _ = place.fs
    except ImportError as error:
        remedy = f"atlas-pipeline[{_EXTRAS[protocol]}]" if protocol in _EXTRAS else f"it ({error})"
        raise ResourceError(f"'{workspace}' needs a package for {protocol}://; install {remedy}") from error
    except ValueError as error:
        raise ConfigError(
            f"'{workspace}': no file system is called {protocol}://; give a path, or e.g. s3://bucket/folder"
        ) from error
    return Path(place.path) if protocol in ("file", "local") else place


def refuse_unreachable(place: Location) -> None:
    """Raises: ResourceError: nobody answers at a URL, its bucket does not exist or may not be used."""
    if isinstance(place, Path) or not place.drive:
        return
    with disk_errors(place):
        try:
            place.fs.info(place.drive)
        except FileNotFoundError as error:
            raise ResourceError(
                f"{place}: there is no bucket '{place.drive}'; create it, or choose another workspace"
            ) from error


@contextmanager
def disk_errors(place: Location) -> Iterator[None]:
    """What the user can mend becomes a ResourceError; any other error goes on as it is."""
    try:
        yield
    except Exception as error:
        cause = _cause(place, error)
        if cause is None:
            raise
        verb = "write" if isinstance(place, Path) else "use"
        raise ResourceError(
            f"cannot {verb} {place}: {cause}, then run again (what is finished is kept)"
        ) from error


def _cause(place: Location, error: Exception) -> str | None:
    known = _CAUSES.get(error.errno or 0) if isinstance(error, OSError) else None
    if known is not None or isinstance(place, Path) or isinstance(error, FileNotFoundError):
        return known
    # Plain ones without a number are pyarrow's, of a damaged file.
    from_store = isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError)
    if from_store or type(error).__module__.partition(".")[0] in _CLIENTS:
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{said}; check address, credentials and network"
    return None


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of modification; 0 where the store tells no time."""

    num_bytes: int
    mtime_ns: int


def state_of(path: Location) -> FileState:
    """Raises: FileNotFoundError. ResourceError: the store cannot be reached."""
    with disk_errors(path):
        return _state(path.stat())


def states_in(folder: Location) -> dict[str, FileState]:
    """The files of a folder by name, asked for at once; none where there is no folder."""
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
    # Whole seconds: a listing may tell milliseconds where a single look does not.
    return FileState(entry["size"], int(seconds) * _SECOND_NS)


def content_of(path: Location) -> bytes:
    """Raises: FileNotFoundError. ResourceError: the store cannot be reached."""
    with disk_errors(path):
        return path.read_bytes() if isinstance(path, Path) else path.fs.cat_file(path.path)


@contextmanager
def source_of(path: Location) -> Iterator[Path | IO[bytes]]:
    """What pyarrow reads from: of an object only the bytes that it asks for are fetched."""
    if isinstance(path, Path):
        yield path
        return
    with disk_errors(path), path.fs.open(path.path, "rb", cache_type="none") as file:
        yield file


def whole_source(path: Location) -> Path | IO[bytes]:
    """The same for reading all of it: an object is fetched once, into memory."""
    return path if isinstance(path, Path) else io.BytesIO(content_of(path))


def put(path: Location, content: bytes) -> None:
    """Write an object; stores show whole ones only. Raises: ResourceError: the store cannot be reached."""
    assert not isinstance(path, Path)
    with disk_errors(path):
        try:
            path.fs.pipe_file(path.path, content)
        except FileNotFoundError:
            # Behind some URLs there are real folders.
            path.parent.mkdir(parents=True, exist_ok=True)
            path.fs.pipe_file(path.path, content)


def remove_folder(folder: Location) -> None:
    """Remove a folder and all in it, if it is there."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with disk_errors(folder), suppress(FileNotFoundError):
        folder.fs.rm(folder.path, recursive=True)
