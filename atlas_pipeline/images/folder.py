"""Images as files in a folder: which files, in which order, of which class.

A key is the path below the folder with '/'. Keys are sorted by their components' code points, whatever the
locale or the file system, so that the order is the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images.digest import sampled_digest

EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"})
SHARDS = {"parquet": frozenset({"parquet"}), "tar": frozenset({"tar"})}
COMPRESSED = frozenset({"gz", "tgz", "bz2", "xz", "zst"})
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
            f"for shards set images.source: {' or '.join(SHARDS)}"
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
        raise ImagesError(f"no images below images.path '{path}'; {remedy(path, 'folder')}")
    return sorted(keys, key=by_components)


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
        raise ImagesError(f"no images below images.path '{path}'; {remedy(path, 'folder')}")
    return sorted(lines)


def digests(path: str, keys: Sequence[str]) -> list[str]:
    """``sampled_digest`` of every file, as hex; read in threads, for discs that answer slowly.

    Raises: ImagesError: a file that cannot be read (it is named).
    """
    folder = f"{checked_folder(path)}/"
    tasks = [keys[i : i + FILES_A_TASK] for i in range(0, len(keys), FILES_A_TASK)]
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda task: [_digest(folder + key) for key in task], tasks)
        return [digest for part in parts for digest in part]


def _digest(file: str) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return sampled_digest(descriptor, 0, os.fstat(descriptor).st_size).hex()
        finally:
            os.close(descriptor)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImagesError(
            f"image '{file}' cannot be read ({reason}); make it readable or remove it"
        ) from error


def walk_files(folder: Path, extensions: frozenset[str]) -> list[tuple[str, os.DirEntry[str]]]:
    """Files below ``folder`` with one of the extensions: (key, entry), in the fixed order."""
    return sorted(_walk(folder, extensions), key=lambda found: by_components(found[0]))


def _walk(folder: Path, extensions: frozenset[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    entered: set[tuple[int, int]] = set()
    real, linked = [""], list[str]()  # keys of folders, each '' or with a '/' at its end
    while real or linked:
        # Real folders first, then the first link by name: the disk's order of entries must not matter.
        linked.sort(key=by_components, reverse=True)
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


def by_components(key: str) -> str:
    """What a key is sorted by: its parts' code points, one part after the other."""
    # No name holds a zero byte, and it comes before all others; lists of parts take five times as long.
    return key.replace("/", "\0")


def _utf8(name: str, where: str | Path) -> str:
    """``name``, checked: a key is stored as UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImagesError(f"the name of file {name!r} in '{where}' is not UTF-8; rename it") from error
    return name


def remedy(path: str, source: str) -> str:
    """What to do where ``source`` finds nothing below a folder: name the source that would find something."""
    others = SHARDS | {"folder": EXTENSIONS}
    for other, extensions in others.items():
        found = sum(1 for _ in _walk(checked_folder(path), extensions)) if other != source else 0
        if found:
            what = "images" if other == "folder" else f".{other} shards"
            return f"it holds {found:,} {what}: set images.source: {other}"
    if any(_walk(checked_folder(path), COMPRESSED)):
        return "it holds compressed files: unpack them (shards are read as .tar)"
    return f"correct images.path (looked for .{', .'.join(sorted(others[source]))})"
