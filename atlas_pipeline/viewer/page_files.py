"""index.html, the viewer: static files that work from a folder, with no network and no server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from atlas_pipeline.viewer.measure_files import measure_list
from atlas_pipeline.viewer.scripts import script

# In the order in which they run. No modules: from file:// a browser refuses them.
SCRIPTS = (
    "data.js",
    "state.js",
    "camera.js",
    "cells.js",
    "sheets.js",
    "measures.js",
    "overlay.js",
    "labels.js",
    "marks.js",
    "draw.js",
    "minimap.js",
    "controls.js",
    "choice.js",
    "lists.js",
    "detail.js",
    "legend.js",
    "glide.js",
    "found.js",
    "travel.js",
    "brush.js",
    "search.js",
    "trace.js",
    "start.js",
)


def page_files(run: Mapping[str, Any]) -> dict[str, bytes]:
    """By name below the run's folder: the page, its style and its scripts.

    Args: run: what there is to see; its name is ``run``. The measures are added.

    Scripts are asked for by what is in them: one that changed is never taken from a browser's cache.
    """
    files = {f"viewer/{name}": _asset(name) for name in ("viewer.css", *SCRIPTS)} | {
        "viewer/run.js": script({**run, "measures": measure_list()})
    }
    order = [*(f"viewer/{name}" for name in SCRIPTS[:-1]), "viewer/run.js", f"viewer/{SCRIPTS[-1]}"]
    tags = "\n".join(
        f'<script src="./{name}?{_digest(files[name])}" data-path="{name}" defer></script>' for name in order
    )
    page = Template(_asset("viewer.html").decode()).substitute(
        title=escape(f"{run['run']} · activation atlas"),
        style=f"./viewer/viewer.css?{_digest(files['viewer/viewer.css'])}",
        scripts=tags,
    )
    return {"index.html": page.encode(), **files}


def _asset(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", name).read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
