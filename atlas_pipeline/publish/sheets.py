"""What of a run's folder shows many atlases at once: the overview of the layers, sheets of the selections."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from atlas_pipeline import __version__
from atlas_pipeline.config.network import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.declaration import Publishes
from atlas_pipeline.engine.location import Location, content_of
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.pictures.figures import png_bytes
from atlas_pipeline.pictures.overview import Panel, max_panels, overview
from atlas_pipeline.publish.entries import AtlasEntry
from atlas_pipeline.views.view import Kind

# A sheet for each kind of view: its file, and what is on it.
SHEETS: dict[Kind, tuple[str, str]] = {
    "all": ("overview.png", "layers"),
    "class": ("class-atlases.png", "class atlases"),
    "comparison": ("comparisons.png", "comparisons"),
}
# Width of a layer on the overview; twice that is kept of its picture.
PANEL_PX = 760
# Bump when a sheet of the same atlases is drawn in another way.
_DRAWING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A picture that is still to be drawn.

    Attributes: file: its name. words: how a page calls it. panels: what is on it, nothing of which is read
                before its turn comes. sources: changes where anything on it does.
    """

    file: str
    words: str
    sources: str
    panels: Sequence[Panel]
    panel_px: int
    caption: str | None
    note: str | None
    text: Mapping[str, str]

    def draw(self) -> bytes:
        """The picture as PNG."""
        return png_bytes(overview(self.panels, self.panel_px, self.caption, self.note), self.text)


def sheets_of(
    config: Config, entries: Sequence[AtlasEntry], made: Mapping[Step, StoredArtefact], folder: Location
) -> list[Sheet]:
    """A sheet for each kind of view that there is."""
    return [
        _sheet(config, kind, of_kind, _digests(made, of_kind), folder)
        for kind in SHEETS
        if (of_kind := [entry for entry in entries if entry.kind == kind])
    ]


def _sheet(
    config: Config, kind: Kind, entries: Sequence[AtlasEntry], digests: Sequence[str], folder: Location
) -> Sheet:
    """The coarsest atlas of every layer and view; where they are too many, as many of each layer."""
    file, things = SHEETS[kind]
    coarsest: dict[tuple[str, str], AtlasEntry] = {}
    for entry in sorted(entries, key=lambda e: e.grid):
        coarsest.setdefault((entry.layer, entry.view), entry)
    # Selections are many and coarse: small, and without thumbnails.
    panel_px = PANEL_PX if kind == "all" else PANEL_PX // 2
    all_of_them = [entry for entry in entries if coarsest[(entry.layer, entry.view)] is entry]
    chosen = _spread(all_of_them, max_panels(panel_px, with_thumbnails=kind == "all"))
    in_depth = sorted(chosen, key=lambda e: config.layers.index(e.layer))
    panels = [_panel(entry, kind, panel_px, folder) for entry in in_depth]
    some = f"{len(chosen):,} of {len(all_of_them):,} {things}"
    model = model_config(config)
    caption = (
        f"{weights_note(model)} - {network_name(config.model.source, config.model.name)}"
        if has_random_weights(model)
        else None
    )
    note = None if len(chosen) == len(all_of_them) else f"{some}: the others are in the viewer"
    text = {"Title": config.name, "Weights": weights_note(model)}
    titles = [(panel.title, panel.subtitle) for panel in panels]
    sources = [__version__, _DRAWING, titles, panel_px, caption, note, text, list(digests)]
    return Sheet(
        file=file,
        words=f"{some if note else f'All {things}'} on one sheet",
        sources=hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16],
        panels=panels,
        panel_px=panel_px,
        caption=caption,
        note=note,
        text=text,
    )


def _digests(made: Mapping[Step, StoredArtefact], entries: Sequence[AtlasEntry]) -> list[str]:
    """Digests of the bytes of the pictures on a sheet: an artefact may be made anew with other bytes."""
    views = {(entry.layer, entry.view) for entry in entries}
    return [
        artefact.digest
        for step, artefact in made.items()
        if step.stage.publishes in (Publishes.ATLAS, Publishes.PICTURE) and (step.layer, step.view) in views
    ]


def _spread(entries: Sequence[AtlasEntry], most: int) -> list[AtlasEntry]:
    """Of too many, the first ones of every layer."""
    if len(entries) <= most:
        return list(entries)
    place: dict[str, int] = {}
    places = []
    for entry in entries:
        place[entry.layer] = place.get(entry.layer, -1) + 1
        places.append(place[entry.layer])
    order = sorted(range(len(entries)), key=places.__getitem__)
    return [entries[number] for number in sorted(order[:most])]


def _panel(entry: AtlasEntry, kind: Kind, panel_px: int, folder: Location) -> Panel:
    thumbnails = [path for path in (entry.density, entry.scatter) if path and kind == "all"]
    return Panel(
        title=entry.layer if kind == "all" else f"{entry.layer}, {entry.view}",
        subtitle=f"{entry.num_activations:,} activations in {entry.num_cells} cells",
        atlas=partial(_reduced, folder / (entry.preview or entry.atlas), 2 * panel_px),
        thumbnails=[partial(_reduced, folder / path, panel_px) for path in thumbnails],
    )


def _reduced(path: Location, largest_px: int) -> np.ndarray:
    """The square picture at the top left of a file, without legend or caption, no larger than it need be."""
    from PIL import Image

    image = Image.open(io.BytesIO(content_of(path))).convert("RGB")
    side = min(image.size)
    image = image.crop((0, 0, side, side))
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
