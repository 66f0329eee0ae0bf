"""Files of a picture's page: the page with its script and style, and a script with numbers for each layer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.viewer.bundle import bundle
from atlas_pipeline.viewer.page_files import viewer_modules
from atlas_pipeline.viewer.scripts import script

# Side of an icon and of a patch on the page.
ICON_PX = 64
_OWN, _UNITS = "picture_static", "unit_static"
_OF_VIEWER, _OF_UNITS = ("data.js", "page.js"), ("sheets_of_units.js",)


def picture_page_files(run: Mapping[str, Any], layers: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a page by name, relative to its folder.

    Args: run: ``run``, ``model``, ``weights``, ``random``, ``name``, ``file``, ``layers``, and the picture.
          layers: scripts with the numbers of a layer, by file name.
    """
    modules = {name: code for name, code in viewer_modules().items() if name in _OF_VIEWER}
    modules |= {name: _asset(_UNITS, name).decode() for name in _OF_UNITS}
    modules |= {name: _asset(_OWN, name).decode() for name in _names(_OWN) if name.endswith(".js")}
    files = {
        "page.css": _asset(_UNITS, "units.css") + _asset(_OWN, "picture.css"),
        "page.js": bundle(modules, "begin.js").encode(),
        **layers,
    }
    run = {**run, "digest": _digest(b"".join(layers[name] for name in sorted(layers)))}
    files["run.js"] = script(run)
    page = Template(_asset(_OWN, "picture.html").decode()).substitute(
        title=escape(f"{run['file']} · {run['run']}"),
        **{
            name: f"./{file}?{_digest(files[file])}"
            for name, file in (("style", "page.css"), ("script", "page.js"), ("run", "run.js"))
        },
    )
    return {"index.html": page.encode(), **files}


def rounded(values: NDArray[Any], digits: int = 4) -> list[Any]:
    """Nested lists of numbers with some significant digits; None for one that is not finite."""
    if values.ndim > 1:
        return [rounded(row, digits) for row in values]
    return [float(f"{one:.{digits}g}") if math.isfinite(one) else None for one in values.tolist()]


def levels(values: NDArray[np.floating]) -> tuple[NDArray[np.int8], list[float]]:
    """Rows of numbers as signed levels of 127, and the number that 127 stands for in each row."""
    most = np.abs(values).max(axis=1, initial=0)
    scaled = values / np.where(most > 0, most, 1)[:, None]
    return np.rint(127 * scaled).astype(np.int8), rounded(most)


def _names(folder: str) -> list[str]:
    return sorted(file.name for file in resources.files(__package__).joinpath(folder).iterdir())


def _asset(folder: str, name: str) -> bytes:
    return resources.files(__package__).joinpath(folder, name).read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
