"""Files in a folder, sorted by name alone: those with given extensions, companions, and all others."""

from __future__ import annotations

from pathlib import Path

from atlas_pipeline.images import walk
from atlas_pipeline.images.formats import (
    COMPANION_EXTENSIONS,
    COMPANION_NAMES,
    IMAGE_EXTENSIONS,
    extension_of,
)
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.walk import by_components, storable_text

COMPRESSED = frozenset({"gz", "tgz", "bz2", "xz", "zst"})
MAX_SHOWN = 12  # longest extension in messages, in characters


def companion_kind(key: str) -> str | None:
    """The kind of a companion file, by its name, such as ``.json``; None if it is no companion."""
    extension, name = extension_of(key), key.rpartition("/")[2].lower()
    if name in COMPANION_NAMES:
        return name
    return f".{extension}" if extension in COMPANION_EXTENSIONS else None


def shard_files(folder: Path, extensions: frozenset[str]) -> tuple[list[str], LeftOut]:
    """Find the files below ``folder`` with one of the extensions, by their names alone.

    Returns: their keys, in the fixed order; all other files.
    """
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
        left_out.other(why, storable_text(key))
    return sorted(keys, key=by_components), left_out


def _beside_shards(extension: str) -> str:
    if extension in COMPRESSED:
        return "compressed file beside the shards, not unpacked"
    if extension in IMAGE_EXTENSIONS:
        return "image beside the shards"
    return f"no shard (.{extension})" if extension and len(extension) <= MAX_SHOWN else "no shard"
