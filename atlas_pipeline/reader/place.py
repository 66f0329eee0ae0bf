"""Where a run's files lie: in a folder, or in a zip. Both hand out bytes by name, and nothing else."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from atlas_pipeline.errors import ConfigError

CONFIG_FILE = "config.yaml"


class Place(Protocol):
    """Files below the run's own folder, names with forward slashes."""

    @property
    def folder(self) -> Path | None:
        """Of the run on disk; None in a zip."""

    @property
    def names(self) -> list[str]:
        """Every file, sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: KeyError: there is none of that name."""


@dataclass(frozen=True)
class FolderPlace:
    """A run's folder."""

    folder: Path

    @cached_property
    def names(self) -> list[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in files)

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None


@dataclass(frozen=True)
class ZipPlace:
    """A run's folder within a zip; opened anew for every file, so that nothing need be closed."""

    path: Path
    top: str
    folder: None = None

    @cached_property
    def names(self) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            files = [info.filename for info in archive.infolist() if not info.is_dir()]
        return sorted(name.removeprefix(self.top) for name in files if name.startswith(self.top))

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(self.top + name)


def place_at(path: Path) -> Place:
    """The run at a path: its folder, the folder around it, a zip of either.

    Raises: ConfigError: nothing there, neither folder nor zip, no run in it, or several.
    """
    if path.is_dir():
        below = sorted(str(config.parent) for config in path.glob(f"*/{CONFIG_FILE}"))
        return FolderPlace(path if (path / CONFIG_FILE).is_file() else Path(_the_only(below, path)))
    if not path.exists():
        raise ConfigError(f"'{path}' does not exist; name a run's folder, <workspace>/runs/<name>, or a zip")
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"'{path}' is neither a run's folder nor a zip made by: atlas export")
    with zipfile.ZipFile(path) as archive:
        configs = [PurePosixPath(n) for n in archive.namelist() if PurePosixPath(n).name == CONFIG_FILE]
    shallowest = min((len(config.parts) for config in configs), default=0)
    tops = [str(config.parent) for config in configs if len(config.parts) == shallowest]
    top = _the_only(tops, path)
    return ZipPlace(path, "" if top == "." else f"{top}/")


def _the_only(found: list[str], path: Path) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"'{path}' holds no run: there is no {CONFIG_FILE} in it")
    names = ", ".join(Path(one).name for one in found)
    raise ConfigError(f"'{path}' holds {len(found)} runs; open one of them: {names}")
