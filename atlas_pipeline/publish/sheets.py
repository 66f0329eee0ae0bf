"""Sheets of many atlases in a run's folder: the overview of the layers, class atlases and comparisons."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from atlas_pipeline import __version__
from atlas_pipeline.config.run_settings import model_config
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

# The sheet for each kind of view: its file, and the word for the atlases on it.
SHEETS: dict[Kind, tuple[str, str]] = {
    "all": ("overview.png", "layers"),
    "class": ("class-atlases.png", "class atlases"),
    "comparison": ("comparisons.png", "comparisons"),
}
# Width of a panel on the overview. Pictures are read at twice that width.
PANEL_PX = 760
# Increase this number when the drawing of a sheet changes.
_DRAWING = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sheet that has not been drawn yet.

    Attributes: file: its file name. words: the text of a link to it. sources: a digest of everything on it.
                panels: the atlases on it, whose pictures are read when they are drawn. panel_px: width of a
                panel. caption, note: see `overview`. text: text chunks of the PNG.
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
    """One sheet for each kind of view that has an entry."""
    return [
        _sheet(config, kind, of_kind, _digests(made, of_kind), folder)
        for kind in SHEETS
        if (of_kind := [entry for entry in entries if entry.kind == kind])
    ]


def _sheet(
    config: Config, kind: Kind, entries: Sequence[AtlasEntry], digests: Sequence[str], folder: Location
) -> Sheet:
    """A sheet with the coarsest atlas of every layer and view, or the first of each layer if too many."""
    file, things = SHEETS[kind]
    coarsest: dict[tuple[str, str], AtlasEntry] = {}
    for entry in sorted(entries, key=lambda e: e.grid):
        coarsest.setdefault((entry.layer, entry.view), entry)
    # Class atlases and comparisons are many and coarse, so their panels are small and have no thumbnails.
    panel_px = PANEL_PX if kind == "all" else PANEL_PX // 2
    candidates = [entry for entry in entries if coarsest[(entry.layer, entry.view)] is entry]
    chosen = _first_of_each_layer(candidates, max_panels(panel_px, with_thumbnails=kind == "all"))
    by_depth = sorted(chosen, key=lambda e: config.layers.index(e.layer))
    panels = [_panel(entry, kind, panel_px, folder) for entry in by_depth]
    some = f"{len(chosen):,} of {len(candidates):,} {things}"
    model = model_config(config)
    caption = (
        f"{weights_note(model)} - {network_name(config.model.source, config.model.name)}"
        if has_random_weights(model)
        else None
    )
    note = None if len(chosen) == len(candidates) else f"{some}: the others are in the viewer"
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
    """Digests of the artefacts with the pictures on a sheet.

    Fingerprints would not do: an artefact that is made again may have other bytes.
    """
    views = {(entry.layer, entry.view) for entry in entries}
    return [
        artefact.digest
        for step, artefact in made.items()
        if step.stage.publishes in (Publishes.ATLAS, Publishes.PICTURE) and (step.layer, step.view) in views
    ]


def _first_of_each_layer(entries: Sequence[AtlasEntry], max_entries: int) -> list[AtlasEntry]:
    """All entries if they fit, else the first ones of each layer, with as equal numbers as possible."""
    if len(entries) <= max_entries:
        return list(entries)
    last_rank: dict[str, int] = {}
    ranks = []
    for entry in entries:
        last_rank[entry.layer] = last_rank.get(entry.layer, -1) + 1
        ranks.append(last_rank[entry.layer])
    order = sorted(range(len(entries)), key=ranks.__getitem__)
    return [entries[number] for number in sorted(order[:max_entries])]


def _panel(entry: AtlasEntry, kind: Kind, panel_px: int, folder: Location) -> Panel:
    thumbnails = [path for path in (entry.density, entry.scatter) if path and kind == "all"]
    return Panel(
        title=entry.layer if kind == "all" else f"{entry.layer}, {entry.view}",
        subtitle=f"{entry.num_activations:,} activations in {entry.num_cells} cells",
        atlas=partial(_reduced, folder / (entry.preview or entry.atlas), 2 * panel_px),
        thumbnails=[partial(_reduced, folder / path, panel_px) for path in thumbnails],
    )


def _reduced(path: Location, largest_px: int) -> np.ndarray:
    """The square at the top left of a picture file, without legend or caption, reduced to largest_px."""
    from PIL import Image

    image = Image.open(io.BytesIO(content_of(path))).convert("RGB")
    side = min(image.size)
    image = image.crop((0, 0, side, side))
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
