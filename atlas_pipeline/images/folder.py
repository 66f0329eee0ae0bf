"""Images as files in a folder: which files, in which order, of which class.

A key is the path below the folder with '/'. Keys are sorted by their components' code points, whatever the
locale or the file system, so that the order is the same on every machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas_pipeline.errors import ImagesError

EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"})
DIGEST_BYTES = 16
FILES_A_TASK = 256  # one future a file would cost a gigabyte at a million files


def checked_folder(path: str) -> Path:
    """The folder at ``path``.

    Raises: ImagesError: there is nothing at ``path``, or no folder.
    """
    folder = Path(path).expanduser()
    if not folder.exists():
        raise ImagesError(f"images.path '{path}' does not exist; correct images.path")
    if not folder.is_dir():
        raise ImagesError(
            f"images.path '{path}' is a file, and images.source 'folder' wants a folder; "
            f"for shards set images.source: parquet"
        )
    return folder


def image_keys(path: str) -> list[str]:
    """Keys of all images below the folder, in the fixed order.

    Hidden files and folders are left out. A folder that a symbolic link leads to is entered once, after the
    real ones, so links in a circle end.

    Raises: ImagesError: no such folder, no image in it, or a file name that is not UTF-8.
    """
    keys = [key for key, _ in _walk(checked_folder(path), EXTENSIONS)]
    if not keys:
        raise _no_images(path)
    return sorted(keys, key=components)


def sub_folders(path: str) -> list[str]:
    """Names of the classes: the sub-folders, sorted, empty ones too, as torchvision's ImageFolder."""
    _, entries = _scan(checked_folder(path))
    return sorted(_utf8(entry.name, path) for entry in entries if entry.is_dir())


def labels(path: str, keys: Sequence[str]) -> list[int]:
    """Class of every key: the place of its first folder among ``sub_folders``; -1: directly in the folder."""
    index = {name: i for i, name in enumerate(sub_folders(path))}
    return [index.get(key.split("/", 1)[0], -1) if "/" in key else -1 for key in keys]


def stamp_lines(path: str) -> list[str]:
    """What changes when a file does: a line a file with its key, size and mtime in ns, and a line a class."""
    lines = [f"{name}/" for name in sub_folders(path)]
    found = len(lines)
    for key, entry in _walk(checked_folder(path), EXTENSIONS):
        status = entry.stat()
        lines.append(f"{key}\0{status.st_size}\0{status.st_mtime_ns}")
    if len(lines) == found:
        raise _no_images(path)
    return sorted(lines)


def digests(path: str, keys: Sequence[str]) -> list[str]:
    """blake2b-128 of every file's bytes, as hex; read in threads, a piece at a time.

    Raises: ImagesError: a file that cannot be read (it is named).
    """
    folder = checked_folder(path)
    tasks = [keys[i : i + FILES_A_TASK] for i in range(0, len(keys), FILES_A_TASK)]
    with ThreadPoolExecutor() as pool:
        return [digest for part in pool.map(lambda task: _digests(folder, task), tasks) for digest in part]


def _digests(folder: Path, keys: Sequence[str]) -> list[str]:
    out = []
    for key in keys:
        try:
            with open(folder / key, "rb") as file:
                out.append(hashlib.file_digest(file, _blake2b).hexdigest())
        except OSError as error:
            raise ImagesError(
                f"image '{folder / key}' cannot be read ({error.strerror}); make it readable or remove it"
            ) from error
    return out


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def walk_files(folder: Path, extensions: frozenset[str]) -> list[tuple[str, os.DirEntry[str]]]:
    """Files below ``folder`` with one of the extensions: (key, entry), in the fixed order."""
    return sorted(_walk(folder, extensions), key=lambda found: components(found[0]))


def _walk(folder: Path, extensions: frozenset[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    entered: set[tuple[int, int]] = set()
    real, linked = [""], list[str]()  # keys of folders, each '' or with a '/' at its end
    while real or linked:
        # Real folders first, then the first link by name: the disk's order of entries must not matter.
        linked.sort(key=components, reverse=True)
        prefix = real.pop() if real else linked.pop()
        identity, entries = _scan(folder / prefix)
        if identity in entered:
            continue
        entered.add(identity)
        for entry in entries:
            if entry.is_dir():
                (linked if entry.is_symlink() else real).append(f"{prefix}{_utf8(entry.name, folder)}/")
            elif os.path.splitext(entry.name)[1][1:].lower() in extensions and entry.is_file():
                yield prefix + _utf8(entry.name, folder), entry


def _scan(folder: Path) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """What tells a folder from all others (device and inode), and its visible entries."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise ImagesError(
            f"folder '{folder}' cannot be read ({error.strerror}); make it readable or move it away"
        ) from error
    return (status.st_dev, status.st_ino), visible


def components(key: str) -> list[str]:
    """What a key is sorted by."""
    return key.split("/")


def _utf8(name: str, where: str | Path) -> str:
    """``name``, checked: a key is stored as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImagesError(f"the name of file {name!r} in '{where}' is not UTF-8; rename it") from error
    return name


def _no_images(path: str) -> ImagesError:
    shards = sum(1 for _ in _walk(checked_folder(path), frozenset({"parquet"})))
    remedy = (
        f"it holds {shards} .parquet shards: set images.source: parquet"
        if shards
        else f"correct images.path (looked for .{', .'.join(sorted(EXTENSIONS))})"
    )
    return ImagesError(f"no images below images.path '{path}'; {remedy}")
