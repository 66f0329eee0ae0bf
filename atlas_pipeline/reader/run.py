"""A finished run: its layers, views, grids and atlases, and its layouts as long as the cache exists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import yaml

from atlas_pipeline.engine.location import Location
from atlas_pipeline.errors import ConfigError, unknown_name
from atlas_pipeline.reader import CONFIG_FILE
from atlas_pipeline.reader.atlas import Atlas, ViewKind, head_of, kind_of, picture_of
from atlas_pipeline.reader.file_names import RunFiles, files_at

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from atlas_pipeline.reader.inline_viewer import InlineViewer

_DOCUMENT = re.compile(r"(?P<layer>.+)/(?P<view>[^/]+)/atlas-(?P<grid>\d+)\.json")


def open_run(path: str | Location) -> AtlasRun:
    """Open a run: its folder by path or URL, a zip made by ``atlas export``, or the unpacked zip.

    Raises: ConfigError: there is no run, or it has no atlas yet. ResourceError: the URL does not answer.

    >>> run = open_run("data/runs/quickstart")
    >>> run.layers, run.grids("mixed5")
    (['mixed5'], [20])
    """
    run = AtlasRun(files_at(path))
    if not run.views:
        raise ConfigError(f"run '{run.name}' has no atlas yet ('{path}'); make it with: atlas run")
    return run


class AtlasRun:
    """A finished run: the atlases in a run's folder."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files

    def __repr__(self) -> str:
        return f"AtlasRun({self.name!r}: {', '.join(self.layers)})"

    @property
    def folder(self) -> Location | None:
        """The run's folder; None for a zip."""
        return self._files.folder

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config with all defaults."""
        return yaml.safe_load(self._files.read(CONFIG_FILE)) or {}

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.config.get("name", "run"))

    @property
    def layers(self) -> list[str]:
        """The layers that have an atlas, in the config's order."""
        return list(self.views)

    @cached_property
    def views(self) -> dict[str, list[str]]:
        """The views of each layer that have an atlas, ``all`` first."""
        return {
            layer: sorted(views, key=lambda v: (v != "all", v)) for layer, views in self._documents.items()
        }

    @cached_property
    def kinds(self) -> dict[str, ViewKind]:
        """View -> its kind: ``all``, ``class`` or ``comparison``, as its atlas says."""
        names = {
            view: grids[min(grids)] for views in self._documents.values() for view, grids in views.items()
        }
        return {view: kind_of(head_of(self._files, f"{name}.json")) for view, name in names.items()}

    def grids(self, layer: str, view: str = "all") -> list[int]:
        """The grids of a layer and view, ascending.

        Raises: ConfigError: unknown layer or view; the message names the nearest.
        """
        if layer not in self._documents and layer in self.config.get("layers", ()):
            raise ConfigError(
                f"run '{self.name}' has no atlas of layer '{layer}' yet; make it with: atlas run"
            )
        if layer not in self._documents:
            raise ConfigError(self._unknown("layer", layer, self._documents, f"run '{self.name}'"))
        if view not in self._documents[layer]:
            where = f"run '{self.name}', layer '{layer}'"
            raise ConfigError(self._unknown("view", view, self._documents[layer], where))
        return sorted(self._documents[layer][view])

    def atlas(self, layer: str, view: str = "all", grid: int | None = None) -> Atlas:
        """One atlas; by default the one with the finest grid.

        Raises: ConfigError: unknown layer, view or grid.
        """
        grids = self.grids(layer, view)
        chosen = grids[-1] if grid is None else grid
        if chosen not in grids:
            known = ", ".join(map(str, grids))
            raise ConfigError(f"grid {chosen} is not in run '{self.name}', layer '{layer}': it has {known}")
        return Atlas(self._files, self._documents[layer][view][chosen])

    def layout(self, layer: str, view: str = "all") -> pd.DataFrame:
        """The layout: one row per activation, columns image_id, row, col, x, y, label and label_name.

        row and col are the spatial position in the feature map; x and y are in [0, 1], y up. label is -1 for
        images without a label; label_name is None where no name is known. The layout is read from the
        workspace's cache, which lies next to ``runs/`` and is not part of an archive.

        Raises: ConfigError: unknown layer or view. MissingInputError: the cache is missing.
        """
        from atlas_pipeline.reader.cached import read_layout

        inputs = self.atlas(layer, view, self.grids(layer, view)[0]).provenance["inputs"]
        return read_layout(self._files, inputs)

    def layout_picture(
        self, layer: str, view: str = "all", kind: Literal["scatter", "density"] = "scatter"
    ) -> Image.Image:
        """A picture of the layout: its activations coloured by label, or how dense they lie.

        Raises: ConfigError: unknown layer or view, or the picture is missing.
        """
        self.grids(layer, view)  # refuses an unknown name
        return picture_of(self._files, f"{layer}/{view}/{kind}.png")

    def show(self, height_px: int = 640, max_mb: float = 50) -> InlineViewer:
        """The viewer inside a notebook (Jupyter, VS Code, Colab), with all layers and views.

        The page and its files are part of the cell's output, so that it needs neither a server nor the run's
        folder. Grids that would make it larger than ``max_mb`` are left out, the finest first.

        Raises: ConfigError: the coarsest grids alone are larger, or the run has no viewer.
        """
        from atlas_pipeline.reader.inline_viewer import InlineViewer

        return InlineViewer(self._files, height_px=height_px, max_mb=max_mb)

    def _repr_html_(self) -> str:
        from atlas_pipeline.reader.notebook import run_html

        return run_html(self)

    @cached_property
    def _documents(self) -> dict[str, dict[str, dict[int, str]]]:
        """layer -> view -> grid -> name of the document without its suffix."""
        found: dict[str, dict[str, dict[int, str]]] = {name: {} for name in self.config.get("layers", ())}
        for name in self._files.names(".json"):
            if match := _DOCUMENT.fullmatch(name):
                views = found.setdefault(match["layer"], {})
                views.setdefault(match["view"], {})[int(match["grid"])] = name.removesuffix(".json")
        return {layer: views for layer, views in found.items() if views}

    @staticmethod
    def _unknown(kind: str, name: str, known: Mapping[str, Any], where: str) -> str:
        return unknown_name(kind, name, known, where, f"It has: {', '.join(known)}")
