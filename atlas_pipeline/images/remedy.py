"""Advice for a source that finds nothing in a folder."""

from __future__ import annotations

from pathlib import Path

from atlas_pipeline.images.folder_files import COMPRESSED, shard_files
from atlas_pipeline.images.left_out import LeftOut
from atlas_pipeline.images.sources import SOURCES


def remedy(path: str, source: str, left_out: LeftOut | None = None) -> str:
    """Advice for a ``source`` that finds nothing in a folder, such as the source that would find something.

    Args: left_out: what was found instead.
    """
    folder = Path(path).expanduser()
    for other in sorted(SOURCES.values(), key=lambda other: not other.in_shards):
        found = len(shard_files(folder, other.extensions)[0]) if other.name != source else 0
        if found:
            files = f".{other.name} shards" if other.in_shards else other.title
            return f"it holds {found:,} {files}: set images.source: {other.name}"
    if shard_files(folder, COMPRESSED)[0]:
        return "it holds compressed files: unpack them (shards are read as .tar)"
    if left_out:
        found_kinds = [*left_out.counts.most_common(2), *left_out.companions.most_common(2)]
        kinds = ", ".join(f"{num:,} {kind}" for kind, num in found_kinds)
        return f"it holds {kinds}; correct images.path"
    return f"correct images.path (looked for .{', .'.join(sorted(SOURCES[source].extensions))})"
