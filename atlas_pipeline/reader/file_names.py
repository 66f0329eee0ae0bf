"""Access to a run's files in a folder, behind a URL or in a zip: each gives the bytes of a file by name."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from atlas_pipeline.engine.location import Location, content_of, disk_errors, location_of, refuse_unreachable
from atlas_pipeline.errors import ConfigError
from atlas_pipeline.reader import CONFIG_FILE

_CHUNK_BYTES = 1 << 16


class RunFiles(Protocol):
    """Files inside the run's folder; names have forward slashes."""

    @property
    def folder(self) -> Location | None:
        """The run's folder; None in a zip."""

    def names(self, suffix: str, folder: str = "") -> list[str]:
        """Names of all files with a suffix, such as ``.json``, in the run or one of its folders; sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: KeyError: no file has that name."""

    def read_until(self, name: str, marker: bytes) -> bytes:
        """The bytes of a file before a marker, or all of them without one; little more is read from disk."""


@dataclass(frozen=True)
class FolderFiles:
    """A run's folder on disk or at a URL."""

    folder: Location

    def names(self, suffix: str, folder: str = "") -> list[str]:
        depth = len(self.folder.parts)
        within = self.folder / folder if folder else self.folder
        with disk_errors(within):
            return sorted("/".join(path.parts[depth:]) for path in within.rglob(f"*{suffix}"))

    def read(self, name: str) -> bytes:
        try:
            return content_of(self.folder / name)
        except FileNotFoundError:
            raise KeyError(name) from None

    def read_until(self, name: str, marker: bytes) -> bytes:
        path = self.folder / name
        if not isinstance(path, Path):
            return self.read(name).partition(marker)[0]
        with disk_errors(path), path.open("rb") as file:
            return _before(file, marker)


@dataclass(frozen=True)
class ZipFiles:
    """A run's folder inside a zip; the zip is opened for each read, so that nothing must be closed."""

    path: Path
    top: str
    folder: None = None

    def names(self, suffix: str, folder: str = "") -> list[str]:
        within = f"{self.top}{folder}/" if folder else self.top
        with zipfile.ZipFile(self.path) as archive:
            found = [name for name in archive.namelist() if name.endswith(suffix)]
        return sorted(name.removeprefix(self.top) for name in found if name.startswith(within))

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(self.top + name)

    def read_until(self, name: str, marker: bytes) -> bytes:
        with zipfile.ZipFile(self.path) as archive, archive.open(self.top + name) as file:
            return _before(file, marker)


def _before(file: IO[bytes], marker: bytes) -> bytes:
    found = b""
    while chunk := file.read(_CHUNK_BYTES):
        found += chunk
        if marker in found:
            return found.partition(marker)[0]
    return found


def files_at(where: str | Location) -> RunFiles:
    """Find the run at a path or URL: its folder or the folder that contains it; at a path also a zip.

    Raises: ConfigError: the path does not exist, is neither folder nor zip, or holds no run or several.
            ResourceError: the URL does not answer.
    """
    location = location_of(where)
    refuse_unreachable(location)
    with disk_errors(location):
        if location.is_dir():
            run_names = sorted(config.parent.name for config in location.glob(f"*/{CONFIG_FILE}"))
            is_run = (location / CONFIG_FILE).is_file()
            return FolderFiles(location if is_run else location / _single_run(run_names, location))
        if not location.exists():
            raise ConfigError(
                f"'{location}' does not exist; name a run's folder, <workspace>/runs/<name>, or a zip"
            )
    if not isinstance(location, Path) or not zipfile.is_zipfile(location):
        raise ConfigError(f"'{location}' is neither a run's folder nor a zip of atlas export on this machine")
    return _in_zip(location)


def _in_zip(path: Path) -> ZipFiles:
    with zipfile.ZipFile(path) as archive:
        configs = [PurePosixPath(n) for n in archive.namelist() if PurePosixPath(n).name == CONFIG_FILE]
    shallowest = min((len(config.parts) for config in configs), default=0)
    folders = [str(config.parent) for config in configs if len(config.parts) == shallowest]
    top = _single_run(folders, path)
    return ZipFiles(path, "" if top == "." else f"{top}/")


def _single_run(found: list[str], location: Location) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"'{location}' holds no run: there is no {CONFIG_FILE} in it")
    raise ConfigError(f"'{location}' holds {len(found)} runs; open one of them: {', '.join(found)}")
