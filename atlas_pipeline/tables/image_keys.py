"""What images are called: their ids to the keys that the user knows them by."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from atlas_pipeline.engine.stage import Artefact

LONGEST_KEY = 120


def shown_key(key: str) -> str:
    """A key as the viewer shows it: of a long one the end, for folders tell less than names."""
    return key[-LONGEST_KEY:]


def keys_of(index: Artefact, image_ids: Iterable[int]) -> dict[int, str]:
    """Image id -> key; streamed, for the index may hold a million paths."""
    wanted = pa.array(sorted(set(image_ids)), pa.int64())
    keys: dict[int, str] = {}
    for part in index.parts(["image_id", "key"]):
        found = part.filter(pc.is_in(part["image_id"], value_set=wanted))
        keys |= dict(zip(found["image_id"].to_pylist(), found["key"].to_pylist(), strict=True))
    return keys
