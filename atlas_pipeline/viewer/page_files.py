"""index.html, the viewer: static files that work from a folder, with no network and no server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from atlas_pipeline.viewer.bundle import bundle
from atlas_pipeline.viewer.measure_files import measure_list
from atlas_pipeline.viewer.scripts import script

_ENTRY = "start.js"


def page_files(run: Mapping[str, Any]) -> dict[str, bytes]:
    """By name below the run's folder: the page, its style, its script and what there is to see.

    Args: run: what there is to see; its name is ``run``. The measures are added.

    Scripts are asked for by what is in them: one that changed is never taken from a browser's cache.
    """
    files = {
        "viewer/viewer.css": _asset("viewer.css"),
        "viewer/viewer.js": bundle(viewer_modules(), _ENTRY).encode(),
        "viewer/run.js": script({**run, "measures": measure_list()}),
    }
    tags = "\n".join(
        f'<script src="./{name}?{_digest(files[name])}" data-path="{name}" defer></script>'
        for name in ("viewer/viewer.js", "viewer/run.js")
    )
    page = Template(_asset("viewer.html").decode()).substitute(
        title=escape(f"{run['run']} · activation atlas"),
        style=f"./viewer/viewer.css?{_digest(files['viewer/viewer.css'])}",
        scripts=tags,
    )
    return {"index.html": page.encode(), **files}


def viewer_modules() -> dict[str, str]:
    """The viewer's ES modules by file name."""
    static = resources.files(__package__).joinpath("static")
    return {
        file.name: file.read_text(encoding="utf-8")
        for file in sorted(static.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".js")
    }


def _asset(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", name).read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
