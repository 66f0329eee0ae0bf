"""The viewer as one HTML page that holds its files, in an iframe of a notebook's output.

A notebook's frontend may run far from the kernel and its files (JupyterHub, VS Code over SSH, Colab), where
it reaches neither a folder nor a port of the kernel's machine. So the output holds everything.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib import resources
from typing import Any

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.reader.file_names import RunFiles
from atlas_pipeline.reader.viewer_values import as_script, viewer_value

_RUN, _SCRIPT, _STYLE = "viewer/run.js", "viewer/viewer.js", "viewer/viewer.css"
# The page may run its own scripts and load nothing from anywhere.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data: blob:; '
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
    # Without it, addresses within the page would be those of the notebook.
    '<base href="about:srcdoc">'
)


class InlineViewer:
    """The viewer's page with its files; a notebook shows it as the output of a cell.

    Attributes: page: the HTML. num_bytes: its size. left_out: grids that were too large, as layer, view and
                grid.
    """

    def __init__(
        self, files: RunFiles, *, height_px: int, max_mb: float, only: tuple[str, str] | None = None
    ) -> None:
        """only: the layer and view to show; None: all.

        Raises: ConfigError: the run has no viewer, or its coarsest grid is larger than ``max_mb``.
        """
        self._height_px = height_px
        try:
            run = viewer_value(files, _RUN)
            page = files.read("index.html").decode()
        except KeyError as error:
            raise ConfigError(
                f"the run has no viewer ({error} is missing); make it with: atlas run"
            ) from None
        run["layers"] = _chosen(run["layers"], only)
        # The report is a page of its own in the run's folder.
        run["report"] = False
        held = dict(_held(files, "keys", ".js"))
        for layer, view in _views(run):
            folder = f"{layer['name']}/{view['name']}"
            held |= _held(files, folder, ".webp")
            held |= _held(files, folder, ".js", below=False)
        own_bytes = sum(len(files.read(name)) for name in ("index.html", _SCRIPT, _STYLE))
        self.left_out = _add_grids(files, run, held, max_mb * 1e6 - own_bytes)
        self.page = _page(page, files, run, held)
        self.num_bytes = len(self.page)

    def __repr__(self) -> str:
        return f"InlineViewer({self.num_bytes / 1e6:.1f} MB)"

    def _repr_html_(self) -> str:
        said = ""
        if self.left_out:
            grids = ", ".join(f"{layer} {view} {grid}" for layer, view, grid in self.left_out)
            said = f"<p>left out, since the page would be larger than max_mb: {escape(grids)}</p>"
        style = f"width:100%;height:{self._height_px}px;border:1px solid #8884"
        return f'{said}<iframe srcdoc="{escape(self.page)}" style="{style}" allowfullscreen></iframe>'


def _chosen(layers: list[dict[str, Any]], only: tuple[str, str] | None) -> list[dict[str, Any]]:
    if only is None:
        return layers
    return [
        {**layer, "views": [view for view in layer["views"] if view["name"] == only[1]]}
        for layer in layers
        if layer["name"] == only[0]
    ]


def _views(run: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((layer, view) for layer in run["layers"] for view in layer["views"])


def _held(files: RunFiles, folder: str, suffix: str, below: bool = True) -> Iterator[tuple[str, str]]:
    """The files of a folder, and of those below it, by name: scripts as text, pictures as data URIs."""
    for name in files.names(suffix, folder):
        if below or "/" not in name.removeprefix(f"{folder}/"):
            content = files.read(name)
            is_script = suffix == ".js"
            yield name, content.decode() if is_script else f"data:image/webp;base64,{_base64(content)}"


def _add_grids(
    files: RunFiles, run: Mapping[str, Any], held: dict[str, str], most_bytes: float
) -> list[tuple[str, str, int]]:
    """Add the files of the grids to those that are held, coarse grids first, as long as they fit.

    Returns: the grids that do not fit; they are removed from the description of the run.
    """
    wanted = [(grid["size"], layer["name"], view) for layer, view in _views(run) for grid in view["grids"]]
    left_out: list[tuple[str, str, int]] = []
    num_bytes = sum(map(len, held.values()))
    for size, layer, view in sorted(wanted, key=lambda one: one[0]):
        added = dict(_held(files, f"{layer}/{view['name']}/tiles-{size}", ".js"))
        more = sum(map(len, added.values()))
        if num_bytes + more <= most_bytes:
            num_bytes += more
            held |= added
        else:
            left_out.append((layer, view["name"], size))
            view["grids"] = [grid for grid in view["grids"] if grid["size"] != size]
    if len(left_out) == len(wanted) and wanted:
        raise ConfigError(
            "the page with the coarsest grid alone is larger than max_mb; raise it, show one layer alone "
            "(run.atlas(...).show()), or use: atlas view"
        )
    return left_out


def _page(page: str, files: RunFiles, run: Mapping[str, Any], held: Mapping[str, str]) -> str:
    """The viewer's page with its style, scripts and files in it."""
    style = files.read(_STYLE).decode()
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', lambda _: _POLICY, page)
    page = re.sub(r'<link rel="stylesheet"[^>]*>', lambda _: f"<style>{style}</style>", page)
    page = re.sub(r"<script src=[^>]*></script>\n?", "", page)
    shim = resources.files(__package__).joinpath("inline_viewer.js").read_text(encoding="utf-8")
    scripts = [
        _script(shim.replace("FILES;", f"{json.dumps(held)};")),
        _script(files.read(_SCRIPT).decode()),
        _script(as_script(run), f' data-path="{_RUN}"'),
    ]
    return page.replace("</body>", f"{''.join(scripts)}</body>")


def _script(code: str, attributes: str = "") -> str:
    # In a string of the code, this means the same and does not end the element.
    safe = code.replace("</", "<\\/")
    return f"<script{attributes}>{safe}</script>"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
