"""Where a run's files lie: in a folder, behind a URL, in a zip. Each hands out bytes by name, and no more."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from atlas_pipeline.engine.location import Location, content_of, disk_errors, location_of, refuse_unreachable
from atlas_pipeline.errors import ConfigError

CONFIG_FILE = "config.yaml"


class RunFiles(Protocol):
    """Files below the run's own folder, names with forward slashes."""

    @property
    def folder(self) -> Location | None:
        """Of the run; None in a zip."""

    @property
    def documents(self) -> list[str]:
        """Every JSON file, sorted."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises: KeyError: there is none of that name."""


@dataclass(frozen=True)
class FolderFiles:
    """A run's folder, or what a URL calls one."""

    folder: Location

    @cached_property
    def documents(self) -> list[str]:
        above = len(self.folder.parts)
        with disk_errors(self.folder):
            return sorted("/".join(path.parts[above:]) for path in self.folder.rglob("*.json"))

    def read(self, name: str) -> bytes:
        try:
            return content_of(self.folder / name)
        except FileNotFoundError:
            raise KeyError(name) from None


@dataclass(frozen=True)
class ZipFiles:
    """A run's folder within a zip; opened anew for every file, so that nothing need be closed."""

    path: Path
    top: str
    folder: None = None

    @cached_property
    def documents(self) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".json")]
        return sorted(name.removeprefix(self.top) for name in names if name.startswith(self.top))

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(self.top + name)


def files_at(where: str | Location) -> RunFiles:
    """The run at a path or URL: its folder, the folder around it; at a path also a zip of either.

    Raises: ConfigError: nothing there, neither folder nor zip, no run in it, or several.
            ResourceError: nobody answers at the URL.
    """
    place = location_of(where)
    refuse_unreachable(place)
    with disk_errors(place):
        if place.is_dir():
            below = sorted(config.parent.name for config in place.glob(f"*/{CONFIG_FILE}"))
            is_run = (place / CONFIG_FILE).is_file()
            return FolderFiles(place if is_run else place / _the_only(below, place))
        if not place.exists():
            raise ConfigError(
                f"'{place}' does not exist; name a run's folder, <workspace>/runs/<name>, or a zip"
            )
    if not isinstance(place, Path) or not zipfile.is_zipfile(place):
        raise ConfigError(f"'{place}' is neither a run's folder nor a zip of atlas export on this machine")
    return _in_zip(place)


def _in_zip(path: Path) -> ZipFiles:
    with zipfile.ZipFile(path) as archive:
        configs = [PurePosixPath(n) for n in archive.namelist() if PurePosixPath(n).name == CONFIG_FILE]
    shallowest = min((len(config.parts) for config in configs), default=0)
    tops = [str(config.parent) for config in configs if len(config.parts) == shallowest]
    top = _the_only(tops, path)
    return ZipFiles(path, "" if top == "." else f"{top}/")


def _the_only(found: list[str], place: Location) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"'{place}' holds no run: there is no {CONFIG_FILE} in it")
    raise ConfigError(f"'{place}' holds {len(found)} runs; open one of them: {', '.join(found)}")
