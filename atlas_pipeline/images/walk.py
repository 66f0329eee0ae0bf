"""All entries in a folder and its sub-folders, each once, in an order that is equal everywhere.

A key is the path below the folder with '/'. Keys are sorted by the code points of their components,
independently of locale and file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from atlas_pipeline.errors import ImagesError


class Entry(NamedTuple):
    """A file, or an entry in place of one. problem: why it cannot be read as a file; None if it can."""

    key: str
    found: os.DirEntry[str]
    problem: str | None


HIDDEN = "hidden"


def walk(folder: Path) -> Iterator[Entry]:
    """All entries except folders, in disk order; a hidden folder is one entry.

    A folder behind a symbolic link is entered once, after the real folders, so circular links end.

    Raises: ImagesError: a folder that cannot be read, or whose name is not UTF-8.
    """
    entered: set[tuple[int, int]] = set()
    real, linked = [""], list[str]()  # keys of folders: '' or ending in '/'
    while real or linked:
        # Real folders first, then links by name, since the disk order must not matter.
        linked.sort(key=by_components, reverse=True)
        prefix = real.pop() if real else linked.pop()
        identity, entries = _scan(folder / prefix)
        if identity in entered:
            continue
        entered.add(identity)
        for entry in entries:
            if entry.name.startswith("."):
                yield Entry(prefix + entry.name, entry, HIDDEN)
                continue
            try:
                if entry.is_dir():
                    (linked if entry.is_symlink() else real).append(f"{prefix}{utf8(entry.name, folder)}/")
                    continue
                problem = None if entry.is_file() else _problem(entry)
            except OSError as error:  # for example a circular link
                problem = f"unreadable ({error.strerror})"
            yield Entry(prefix + entry.name, entry, problem)


def _problem(entry: os.DirEntry[str]) -> str:
    return "symbolic link that leads nowhere" if entry.is_symlink() else "no regular file"


def sub_folders(folder: Path) -> list[str]:
    """Names of the visible folders directly in ``folder``, sorted."""
    _, entries = _scan(folder)
    return sorted(utf8(e.name, folder) for e in entries if not e.name.startswith(".") and _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _scan(folder: Path) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """A folder's identity (device and inode), and its entries."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            return (status.st_dev, status.st_ino), list(entries)
    except OSError as error:
        raise ImagesError(
            f"folder '{folder}' cannot be read ({error.strerror}); make it readable or move it away"
        ) from error


def by_components(key: str) -> str:
    """The sort key of an image key: the code points of its parts, one part after the other."""
    # No name holds a zero byte, which sorts before all others. Lists of parts would take five times as long.
    return key.replace("/", "\0")


def utf8(name: str, where: str | Path) -> str:
    """``name``, checked to be valid UTF-8, in which keys are stored.

    Raises: ImagesError: it is not.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImagesError(f"the name of file {name!r} in '{where}' is not UTF-8; rename it") from error
    return name


def storable_text(name: str) -> str:
    """``name`` as storable text, whatever its bytes on disk."""
    return name.encode(errors="backslashreplace").decode()
