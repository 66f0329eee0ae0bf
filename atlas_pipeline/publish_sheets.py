"""Pictures of a run's folder that show many atlases at once: of all layers, all classes, all comparisons."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from atlas_pipeline.config import Config
from atlas_pipeline.engine.place import Place, content_of
from atlas_pipeline.run_folder import RunFolder
from atlas_pipeline.stages.opened import model_config
from atlas_pipeline.stages.provenance import has_random_weights, model_title, weights_note
from atlas_pipeline.viewer.entries import AtlasEntry
from atlas_pipeline.viewer.figures import png_bytes
from atlas_pipeline.viewer.overview import Panel, overview

# A sheet for each kind of view, by the first word of its name: its file, and how a page calls it.
SHEETS = {
    "all": ("overview.png", "All layers on one sheet"),
    "class": ("class-atlases.png", "All class atlases on one sheet"),
    "compare": ("comparisons.png", "All comparisons on one sheet"),
}
# Width of a layer on the overview; twice that is kept of its picture.
PANEL_PX = 760


def write_sheets(config: Config, entries: Sequence[AtlasEntry], folder: RunFolder) -> dict[str, str]:
    """A sheet for every kind of view there is; how a page calls it -> its file.

    Args: entries: of the atlases whose pictures are in the folder.
    """
    written = {}
    for kind, (file, words) in SHEETS.items():
        of_kind = [entry for entry in entries if _kind(entry) == kind]
        if of_kind:
            folder.write(file, _sheet(config, of_kind, folder.path))
            written[words] = file
    return written


def _kind(entry: AtlasEntry) -> str:
    """`all`, `class` or `compare`."""
    return entry.view.partition("-")[0]


def _sheet(config: Config, entries: Sequence[AtlasEntry], folder: Place) -> bytes:
    """The coarsest atlas of every layer and view."""
    coarsest: dict[tuple[str, str], AtlasEntry] = {}
    for entry in sorted(entries, key=lambda e: e.grid):
        coarsest.setdefault((entry.layer, entry.view), entry)
    in_depth = sorted(entries, key=lambda e: config.layers.index(e.layer))
    # Selections are many and coarse: small, and without thumbnails.
    of_layers = _kind(entries[0]) == "all"
    panel_px = PANEL_PX if of_layers else PANEL_PX // 2
    panels = [
        Panel(
            title=entry.layer if of_layers else f"{entry.layer}, {entry.view}",
            subtitle=f"{entry.num_activations:,} activations in {entry.num_cells} cells",
            atlas=_reduced(folder / (entry.preview or entry.atlas), 2 * panel_px),
            thumbnails=[
                _reduced(folder / p, panel_px) for p in (entry.density, entry.scatter) if p and of_layers
            ],
        )
        for entry in in_depth
        if coarsest[(entry.layer, entry.view)] is entry
    ]
    model = model_config(config)
    caption = f"{weights_note(model)} - {model_title(model)}" if has_random_weights(model) else None
    return png_bytes(
        overview(panels, panel_px, caption), {"Title": config.name, "Weights": weights_note(model)}
    )


def _reduced(path: Place, largest_px: int) -> np.ndarray:
    """The square picture at the top left of a file, without legend or caption, no larger than it need be."""
    from PIL import Image

    image = Image.open(io.BytesIO(content_of(path))).convert("RGB")
    side = min(image.size)
    image = image.crop((0, 0, side, side))
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
