"""The keys by which users know images, looked up by image id."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.engine.stage import Artefact

LONGEST_KEY = 120


def shown_key(key: str) -> str:
    """A key as the viewer shows it: the end of a long key, since the file name says more than the folders."""
    return key[-LONGEST_KEY:]


def keys_of(index: Artefact, image_ids: Iterable[int]) -> dict[int, str]:
    """Image id -> key. The index is streamed: it may hold a million paths."""
    wanted = pa.array(sorted(set(image_ids)), pa.int64())
    keys: dict[int, str] = {}
    for part in index.parts(["image_id", "key"]):
        found = part.filter(pc.is_in(part["image_id"], value_set=wanted))
        keys |= dict(zip(found["image_id"].to_pylist(), found["key"].to_pylist(), strict=True))
    return keys
