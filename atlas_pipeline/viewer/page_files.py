"""The viewer's page, index.html, with its style and script: files that need no network and no server."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from atlas_pipeline.viewer.bundle import bundle
from atlas_pipeline.viewer.measure_files import EVERY_RUN, measure_list
from atlas_pipeline.viewer.scripts import script

_ENTRY = "start.js"


def page_files(run: Mapping[str, Any], stages: Collection[str] = EVERY_RUN) -> dict[str, bytes]:
    """The page, its style, its script and the run's description, by name below the run's folder.

    The page links to scripts with a digest of their content, so that a browser never uses an outdated script
    from its cache.

    Args: run: the description of the run's contents; its entry ``run`` is the name. The measures are added.
          stages: names of the run's stages.
    """
    files = {
        "viewer/viewer.css": _asset("viewer.css"),
        "viewer/viewer.js": bundle(viewer_modules(), _ENTRY).encode(),
        "viewer/run.js": script({**run, "measures": measure_list(stages)}),
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
