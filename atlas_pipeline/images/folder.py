"""Images as files in a folder: which files, in which order, of which class.

An image extension is believed; all other files are opened for their first bytes. Files that are no images are
counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import walk
from atlas_pipeline.images.digest import sampled_digest
from atlas_pipeline.images.formats import (
    COMPANION_EXTENSIONS,
    COMPANION_NAMES,
    HEAD_BYTES,
    IMAGE_EXTENSIONS,
    extension_of,
    why_left_out,
)
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.walk import by_components, shown

SHARDS = {"parquet": frozenset({"parquet"}), "tar": frozenset({"tar"})}
COMPRESSED = frozenset({"gz", "tgz", "bz2", "xz", "zst"})
MAX_SHOWN = 12  # characters of an extension
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


def image_keys(path: str) -> tuple[list[str], LeftOut]:
    """Keys of all images below the folder, in the fixed order, and what else is there.

    An image is a file with the extension of one, or any other file that starts as one does. Companions are
    told by their names and not opened.

    Raises: ImagesError: no such folder, no image in it, or a file name that is not UTF-8.
    """
    folder, left_out = checked_folder(path), LeftOut()
    keys, unknown, others = list[str](), list[str](), list[tuple[str, str]]()
    for key, _, problem in walk.walk(folder):
        if problem and problem != walk.HIDDEN:
            others.append((key, problem))
        elif companion := problem or companion_kind(key):
            left_out.companion(companion)
        elif _is_named_as_image(key):
            keys.append(key)
        else:
            unknown.append(key)
    for key, why in zip(unknown, _why_left_out(folder, unknown), strict=True):
        if why is None:
            keys.append(key)
        else:
            others.append((key, why))
    for key, why in sorted(others, key=lambda other: by_components(other[0])):
        left_out.other(why, shown(key))
    if not keys:
        raise ImagesError(f"no images below images.path '{path}'; {remedy(path, 'folder', left_out)}")
    for key in keys:
        walk.utf8(key, folder)
    return sorted(keys, key=by_components), left_out


def _is_named_as_image(key: str) -> bool:
    return extension_of(key) in IMAGE_EXTENSIONS


def companion_kind(key: str) -> str | None:
    """The kind of a file that goes with images, by its name: ``.json``; None: it is none."""
    extension, name = extension_of(key), key.rpartition("/")[2].lower()
    if name in COMPANION_NAMES:
        return name
    return f".{extension}" if extension in COMPANION_EXTENSIONS else None


def _why_left_out(folder: Path, keys: Sequence[str]) -> list[str | None]:
    """Why each file is no image, by its first bytes; None: it is one."""

    def of(key: str) -> str | None:
        try:
            descriptor = os.open(folder / key, os.O_RDONLY)
            try:
                return why_left_out(key, os.pread(descriptor, HEAD_BYTES, 0))
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"unreadable ({error.strerror})"

    tasks = [keys[i : i + FILES_A_TASK] for i in range(0, len(keys), FILES_A_TASK)]
    with ThreadPoolExecutor() as pool:
        return [why for part in pool.map(lambda task: [of(key) for key in task], tasks) for why in part]


def sub_folders(path: str) -> list[str]:
    """Names of the classes: the sub-folders, sorted, empty ones too, as torchvision's ImageFolder."""
    return walk.sub_folders(checked_folder(path))


def labels(path: str, keys: Sequence[str]) -> list[int]:
    """Class of every key: the place of its first folder among ``sub_folders``; -1: directly in the folder."""
    index = {name: i for i, name in enumerate(sub_folders(path))}
    return [index.get(key.split("/", 1)[0], -1) if "/" in key else -1 for key in keys]


def stamp_lines(path: str) -> list[str]:
    """Lines that change when the listing may: one for each file that is or may be an image, with its key,
    size and mtime in ns; one for each class; and the number of companions of each kind, for they are counted.

    Raises: ImagesError: nothing in the folder can be an image.
    """
    folder, left_out = checked_folder(path), LeftOut()
    files, is_sure = list[str](), False
    for key, entry, problem in walk.walk(folder):
        if problem and problem != walk.HIDDEN:
            files.append(f"{shown(key)}\0{problem}")
            continue
        if companion := problem or companion_kind(key):
            left_out.companion(companion)
            continue
        is_sure = is_sure or _is_named_as_image(key)
        status = entry.stat()
        files.append(f"{shown(key)}\0{status.st_size}\0{status.st_mtime_ns}")
    if not is_sure:
        image_keys(path)  # raises where there is none
    return sorted(
        [f"{name}/" for name in sub_folders(path)]
        + files
        + [f"{kind}\0{num}" for kind, num in left_out.companions.items()]
    )


def digests(path: str, keys: Sequence[str]) -> list[str]:
    """``sampled_digest`` of every file, as hex; read in threads, for discs that answer slowly.

    Raises: ImagesError: a file that cannot be read (it is named).
    """
    folder = f"{checked_folder(path)}/"
    tasks = [keys[i : i + FILES_A_TASK] for i in range(0, len(keys), FILES_A_TASK)]
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda task: [file_digest(folder + key) for key in task], tasks)
        return [digest for part in parts for digest in part]


def file_digest(file: str) -> str:
    """``sampled_digest`` of a file, as hex.

    Raises: ImagesError: it cannot be read.
    """
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


def shard_files(folder: Path, extensions: frozenset[str]) -> tuple[list[str], LeftOut]:
    """Keys of the files below ``folder`` with one of the extensions, in the fixed order, and what else is
    there; told by their names alone."""
    left_out, keys, others = LeftOut(), list[str](), list[tuple[str, str]]()
    for key, _, problem in walk.walk(folder):
        if problem and problem != walk.HIDDEN:
            others.append((key, problem))
        elif problem is None and extension_of(key) in extensions:
            keys.append(walk.utf8(key, folder))
        elif companion := problem or companion_kind(key):
            left_out.companion(companion)
        else:
            others.append((key, _beside_shards(extension_of(key))))
    for key, why in sorted(others, key=lambda other: by_components(other[0])):
        left_out.other(why, shown(key))
    return sorted(keys, key=by_components), left_out


def _beside_shards(extension: str) -> str:
    if extension in COMPRESSED:
        return "compressed file beside the shards, not unpacked"
    if extension in IMAGE_EXTENSIONS:
        return "image beside the shards"
    return f"no shard (.{extension})" if extension and len(extension) <= MAX_SHOWN else "no shard"


def remedy(path: str, source: str, left_out: LeftOut | None = None) -> str:
    """The remedy where ``source`` finds nothing below a folder: the source that would find something.

    Args: left_out: what was found instead.
    """
    others = SHARDS | {"folder": IMAGE_EXTENSIONS}
    folder = checked_folder(path)
    for other, extensions in others.items():
        found = len(shard_files(folder, extensions)[0]) if other != source else 0
        if found:
            what = "images" if other == "folder" else f".{other} shards"
            return f"it holds {found:,} {what}: set images.source: {other}"
    if shard_files(folder, COMPRESSED)[0]:
        return "it holds compressed files: unpack them (shards are read as .tar)"
    if left_out:
        found_kinds = [*left_out.counts.most_common(2), *left_out.companions.most_common(2)]
        kinds = ", ".join(f"{num:,} {kind}" for kind, num in found_kinds)
        return f"it holds {kinds}; correct images.path"
    return f"correct images.path (looked for .{', .'.join(sorted(others[source]))})"
