"""Reads the viewer's data files of a run: scripts that each pass one JSON value to the page."""

from __future__ import annotations

import json
from typing import Any

from atlas_pipeline.reader.file_names import RunFiles

_BEFORE, _AFTER = b"atlas.receive(", b");"


def viewer_value(files: RunFiles, name: str) -> Any:
    """The value of a data file. Raises: KeyError: the run has no such file."""
    return json.loads(files.read(name).strip().removeprefix(_BEFORE).removesuffix(_AFTER))


def as_script(value: Any) -> str:
    """The inverse of ``viewer_value``: the text of a data file."""
    return f"{_BEFORE.decode()}{json.dumps(value, separators=(',', ':'))}{_AFTER.decode()}\n"


def label_names(files: RunFiles) -> list[str]:
    """The names of the images' labels, by label; empty if the images have none."""
    try:
        return viewer_value(files, "keys/keys.js")["labelNames"]
    except KeyError:
        return []
