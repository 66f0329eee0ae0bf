"""The folder that people open: `<workspace>/runs/<name>/`, made from finished artefacts alone.

Nothing is computed here, and one file at a time is in memory. A file is written only where it is missing or
differs; one that an earlier publication left and this one does not make is removed; the user's own stay.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas_pipeline.config import Config
from atlas_pipeline.engine import Artefact, Store, artefact_of
from atlas_pipeline.engine.files import atomic_file
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.stages.opened import model_config
from atlas_pipeline.stages.provenance import has_random_weights, model_title, weights_note
from atlas_pipeline.viewer.entries import AtlasEntry, RunSummary, entry_of
from atlas_pipeline.viewer.figures import png_bytes
from atlas_pipeline.viewer.overview import Panel, overview
from atlas_pipeline.viewer.page import index_page

PUBLISHED = ".published.json"
OVERVIEW = "overview.png"
# Width of a layer on the overview; twice that is kept of its picture.
PANEL_PX = 760


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a run's folder holds."""

    page: Path | None
    atlases: tuple[AtlasEntry, ...]


def run_folder(config: Config) -> Path:
    """`<workspace>/runs/<name>`."""
    return Path(config.run.workspace) / "runs" / config.name


def publish(config: Config, steps: Sequence[Step], store: Store) -> Publication:
    """Bring a run's folder up to date with whatever of its pictures is done.

    Raises: ResourceError: it cannot be written.
    """
    folder = _Folder(run_folder(config))
    folder.write("config.yaml", config.to_yaml().encode())
    made = {step: artefact for step in steps if (artefact := artefact_of(step, store)) is not None}
    for step, artefact in made.items():
        if step.stage.name in ("plot", "stitch"):
            for part in artefact.parts():
                for row in part.to_pylist():
                    folder.write(f"{step.layer}/{step.view}/{row['file']}", row["content"])
    entries = [_entry(step, folder.path) for step in made if step.stage.name == "stitch"]
    if entries:
        folder.write(OVERVIEW, _overview(config, entries, folder.path))
        folder.write("index.html", index_page(_summary(config, made), entries).encode())
    folder.finish([artefact.fingerprint for artefact in made.values()])
    return Publication(page=folder.path / "index.html" if entries else None, atlases=tuple(entries))


def reached(folder: Path) -> set[str]:
    """Fingerprints of the artefacts that a run's folder was last made from."""
    return set(_published(folder).get("artefacts", ()))


def _published(folder: Path) -> Mapping[str, Sequence[str]]:
    try:
        return json.loads((folder / PUBLISHED).read_bytes())
    except (OSError, ValueError):
        return {}


class _Folder:
    """A run's folder, and which of its files this publication made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = set(_published(path).get("files", ()))
        self._now: set[str] = set()

    def write(self, name: str, content: bytes) -> None:
        self._now.add(name)
        path = self.path / name
        if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
            with atomic_file(path) as file:
                file.write(content)

    def finish(self, fingerprints: Sequence[str]) -> None:
        for name in self._before - self._now:
            (self.path / name).unlink(missing_ok=True)
        record = {"artefacts": sorted(set(fingerprints)), "files": sorted(self._now)}
        self.write(PUBLISHED, json.dumps(record, indent=1).encode())


def _entry(step: Step, folder: Path) -> AtlasEntry:
    base = f"{step.layer}/{step.view}"
    document = f"{base}/atlas-{step.grid}.json"

    def there(name: str) -> str | None:
        return f"{base}/{name}" if (folder / base / name).is_file() else None

    preview = there(f"atlas-{step.grid}-preview.png")
    return entry_of(
        json.loads((folder / document).read_bytes()),
        preview=preview,
        width_px=_width_px(folder / preview) if preview else None,
        atlas=f"{base}/atlas-{step.grid}.png",
        document_path=document,
        density=there("density.png"),
        scatter=there("scatter.png"),
    )


def _width_px(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.width


def _summary(config: Config, made: Mapping[Step, Artefact]) -> RunSummary:
    model = model_config(config)
    (index,) = [artefact for step, artefact in made.items() if step.stage.name == "index"]
    where = "generated images" if config.images.source == "generated" else f"images of {config.images.path}"
    return RunSummary(
        name=config.name,
        model=config.model.name or config.model.source,
        weights=weights_note(model),
        random_weights=has_random_weights(model),
        images=f"{index.num_rows:,} {where}",
        provenance={"config": config.model_dump(mode="json", exclude={"run"}), "model": model},
        overview=OVERVIEW,
    )


def _overview(config: Config, entries: Sequence[AtlasEntry], folder: Path) -> bytes:
    """Every layer's coarsest atlas on one sheet."""
    coarsest: dict[tuple[str, str], AtlasEntry] = {}
    for entry in sorted(entries, key=lambda e: e.grid):
        coarsest.setdefault((entry.layer, entry.view), entry)
    panels = [
        Panel(
            title=entry.layer if entry.view == "all" else f"{entry.layer}, {entry.view}",
            subtitle=f"{entry.num_activations:,} activations in {entry.num_cells} cells",
            atlas=_reduced(folder / entry.atlas, 2 * PANEL_PX),
            thumbnails=[_reduced(folder / p, PANEL_PX) for p in (entry.density, entry.scatter) if p],
        )
        for entry in entries
        if coarsest[(entry.layer, entry.view)] is entry
    ]
    model = model_config(config)
    caption = f"{weights_note(model)} - {model_title(model)}" if has_random_weights(model) else None
    return png_bytes(
        overview(panels, PANEL_PX, caption), {"Title": config.name, "Weights": weights_note(model)}
    )


def _reduced(path: Path, largest_px: int) -> np.ndarray:
    """The square picture at the top left of a file, without legend or caption, no larger than it need be."""
    from PIL import Image

    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    side = min(image.size)
    image = image.crop((0, 0, side, side))
    image.thumbnail((largest_px, largest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)
