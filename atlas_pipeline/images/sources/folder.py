"""Images as files in a folder: which files, in which order, of which class.

A file with an image extension counts as an image; all other files are opened to read their first bytes. Files
that are no images are counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_pipeline.errors import ImagesError
from atlas_pipeline.images import walk
from atlas_pipeline.images.digest import file_digest, text_digest
from atlas_pipeline.images.folder_files import companion_kind
from atlas_pipeline.images.formats import HEAD_BYTES, IMAGE_EXTENSIONS, extension_of, why_left_out
from atlas_pipeline.images.image_source import ImagesLocation, ImageSource
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.walk import by_components, storable_text

if TYPE_CHECKING:
    from atlas_pipeline.images.index_table import Listing

FILES_PER_TASK = 256  # one future per file would take a gigabyte for a million files


def checked_folder(path: str) -> Path:
    """The folder at ``path``.

    Raises: ImagesError: nothing at ``path``, or no folder.
    """
    from atlas_pipeline.images.sources import SOURCES

    folder = Path(path).expanduser()
    if not folder.exists():
        raise ImagesError(f"images.path '{path}' does not exist; correct images.path")
    if not folder.is_dir():
        raise ImagesError(
            f"images.path '{path}' is a file, and images.source 'folder' wants a folder; "
            f"for shards set images.source: {' or '.join(s.name for s in SOURCES.values() if s.in_shards)}"
        )
    return folder


def image_keys(path: str) -> tuple[list[str], LeftOut]:
    """Keys of all images below the folder, in the fixed order, and counts of everything else.

    An image is a file with an image extension, or any other file whose first bytes are those of an image.
    Companions are recognised by name and not opened.

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
        left_out.other(why, storable_text(key))
    if not keys:
        from atlas_pipeline.images.remedy import remedy

        raise ImagesError(f"no images below images.path '{path}'; {remedy(path, 'folder', left_out)}")
    for key in keys:
        walk.utf8(key, folder)
    return sorted(keys, key=by_components), left_out


def _is_named_as_image(key: str) -> bool:
    return extension_of(key) in IMAGE_EXTENSIONS


def _why_left_out(folder: Path, keys: Sequence[str]) -> list[str | None]:
    """Why each file is no image, by its first bytes; None if it is one."""

    def reason_for(key: str) -> str | None:
        try:
            descriptor = os.open(folder / key, os.O_RDONLY)
            try:
                return why_left_out(key, os.pread(descriptor, HEAD_BYTES, 0))
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"unreadable ({error.strerror})"

    tasks = [keys[i : i + FILES_PER_TASK] for i in range(0, len(keys), FILES_PER_TASK)]
    with ThreadPoolExecutor() as pool:
        return [
            why for part in pool.map(lambda task: [reason_for(key) for key in task], tasks) for why in part
        ]


def sub_folders(path: str) -> list[str]:
    """Class names: the sub-folders, sorted, including empty ones, as in torchvision's ImageFolder."""
    return walk.sub_folders(checked_folder(path))


def labels(path: str, keys: Sequence[str]) -> list[int]:
    """Class of every key: the index of its first folder in ``sub_folders``; -1 if it has no folder."""
    index = {name: i for i, name in enumerate(sub_folders(path))}
    return [index.get(key.split("/", 1)[0], -1) if "/" in key else -1 for key in keys]


def stamp_lines(path: str) -> list[str]:
    """Lines that change when the listing may change.

    There is one line for each file that is or may be an image, with its key, size and mtime in ns; one for
    each class; and one for each kind of companion with its count.

    Raises: ImagesError: nothing in the folder can be an image.
    """
    folder, left_out = checked_folder(path), LeftOut()
    files, is_sure = list[str](), False
    for key, entry, problem in walk.walk(folder):
        if problem and problem != walk.HIDDEN:
            files.append(f"{storable_text(key)}\0{problem}")
            continue
        if companion := problem or companion_kind(key):
            left_out.companion(companion)
            continue
        is_sure = is_sure or _is_named_as_image(key)
        status = entry.stat()
        files.append(f"{storable_text(key)}\0{status.st_size}\0{status.st_mtime_ns}")
    if not is_sure:
        image_keys(path)  # raises if there is none
    return sorted(
        [f"{name}/" for name in sub_folders(path)]
        + files
        + [f"{kind}\0{num}" for kind, num in left_out.companions.items()]
    )


def digests(path: str, keys: Sequence[str]) -> list[str]:
    """``sampled_digest`` of every file, as hex; read in threads, to overlap the latency of slow disks.

    Raises: ImagesError: a file that cannot be read; the message names it.
    """
    folder = f"{checked_folder(path)}/"
    tasks = [keys[i : i + FILES_PER_TASK] for i in range(0, len(keys), FILES_PER_TASK)]
    with ThreadPoolExecutor() as pool:
        parts = pool.map(lambda task: [file_digest(folder + key) for key in task], tasks)
        return [digest for part in parts for digest in part]


def _listing(place: ImagesLocation, num_images: int | None, seed: int) -> Listing:
    import numpy as np

    from atlas_pipeline.images.index_table import Listing, index_table, subset

    found, left_out = image_keys(place.path)
    keys = [found[i] for i in subset(len(found), num_images, seed)]
    images = index_table(
        key=keys,
        label=labels(place.path, keys),
        file=keys,
        row=np.full(len(keys), -1),
        digest=digests(place.path, keys),
    )
    return Listing(images, len(found), left_out)


@dataclass(frozen=True, slots=True)
class _Reader:
    root: Path

    def read(self, file: str, row: int) -> bytes:
        return (self.root / file).read_bytes()


FOLDER = ImageSource(
    name="folder",
    title="images",
    listing=_listing,
    stamp=lambda place: text_digest("\n".join(["folder", *stamp_lines(place.path)])),
    reader=lambda place, seed: _Reader(Path(place.path)),
    class_names=lambda place: sub_folders(place.path) or None,
    extensions=IMAGE_EXTENSIONS,
)
