"""The folder that people open: `<workspace>/runs/<name>/`, made from finished artefacts alone.

Nothing is computed here. Files are copied piece by piece; in memory are the numbers of an atlas, and of a
sheet of many atlases the sheet and one picture of those on it (see `publish_sheet`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlas_pipeline.config.network import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_json import document_numbers
from atlas_pipeline.engine import (
    Artefact,
    Reach,
    Store,
    artefact_of,
    artefacts_of,
    ordered,
    plan,
    reach_of,
)
from atlas_pipeline.engine.declaration import Publishes
from atlas_pipeline.engine.location import Location, content_of, disk_errors
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.patch_test.patch_report import CONTACT_SHEET
from atlas_pipeline.publish.entries import AtlasEntry, RunSummary, entry_of
from atlas_pipeline.publish.folder import RunFolder, held, opened, run_folder, sweep_run
from atlas_pipeline.publish.report import report_page
from atlas_pipeline.publish.sheets import Sheet, sheets_of
from atlas_pipeline.publish.viewer_files import index_of, viewer_files
from atlas_pipeline.reader.file_names import CONFIG_FILE
from atlas_pipeline.tables.files import files_of
from atlas_pipeline.views.view import Kind, views_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a run's folder holds."""

    page: Location | None
    atlases: tuple[AtlasEntry, ...]


def publish(
    config: Config, steps: Sequence[Step], store: Store, by_command: Sequence[Step] = ()
) -> Publication:
    """Bring a run's folder up to date with whatever of its pictures is done.

    Args:   by_command: steps that a command asked for beside the config's. Their files stay in later
            publications too, for as long as what of the run they were made from is still the run's.
    Raises: ResourceError: it cannot be written.
    """
    # Of two runs at once one publishes after the other: a sweep must not meet a file that is being written.
    with held(store, config.name) as is_held:
        if is_held:
            sweep_run(run_folder(config))
        return _publish(config, steps, store, by_command)


def _publish(config: Config, steps: Sequence[Step], store: Store, by_command: Sequence[Step]) -> Publication:
    made = artefacts_of(steps, store)
    current = {artefact.fingerprint for artefact in made.values()}
    is_all = len(made) == len(steps)
    reach = Reach(fingerprints=frozenset(current)) if is_all else reach_of(plan(steps, store))
    folder = RunFolder(run_folder(config), reach)
    views = views_of(config)
    entries, figures, kinds = [], [], {view.name: view.kind for view in views}
    for step, artefact in made.items():
        names = _write_pictures(folder, step, artefact)
        # A selection without icons has no atlas.
        if names and step.stage.publishes is Publishes.ATLAS:
            entries.append(_entry(step, kinds[str(step.view)], folder.path))
        figures += names if step.stage.publishes is Publishes.FIGURE else []
    for step, artefact in artefacts_of(by_command, store).items():
        sources = {a.fingerprint for a in artefacts_of(ordered([step]), store).values()}
        folder.keep(_write_pictures(folder, step, artefact), own=sources - current, beneath=sources & current)
    if not config.stitch.examples:
        # What a command made before the config said so.
        folder.let_go(CONTACT_SHEET)
    sheets: list[Sheet] = []
    if entries:
        sheets = sheets_of(config, entries, made, folder.path)
        shown = dict.fromkeys(n for n in (*figures, *folder.kept(current)) if n.endswith(".png"))
        summary = _summary(config, made, sheets, list(shown))
        folder.write("report.html", report_page(summary, entries).encode())
    viewer = viewer_files(config, views, made, has_report=bool(entries))
    for name, content in viewer.items():
        folder.write(name, content)
    # Last, for of hundreds of atlases they take long.
    for sheet in sheets:
        folder.write_drawn(sheet.file, sheet.sources, sheet.draw)
    # Only now: what is read as made with a config is all there.
    folder.write(CONFIG_FILE, config.to_yaml().encode())
    folder.finish(current)
    return Publication(page=folder.path / "index.html" if viewer else None, atlases=tuple(entries))


def _write_pictures(folder: RunFolder, step: Step, artefact: Artefact) -> list[str]:
    """Write the files of a step, if it has any; their names."""
    if step.stage.publishes is None:
        return []
    names = []
    for file, pieces in files_of(artefact):
        names.append(_published_name(step, file))
        folder.write_pieces(names[-1], pieces)
    return names


def _published_name(step: Step, file: str) -> str:
    # What spans the layers has a place of its own.
    return f"{step.layer}/{step.view}/{file}" if step.layer else f"{step.stage.name}/{file}"


def files_in_folder(config: Config, step: Step, store: Store) -> list[Location]:
    """Where the files of a step are in a run's folder; none where it has none, or is not done."""
    artefact = artefact_of(step, store)
    if artefact is None or step.stage.publishes is None:
        return []
    # A file is one row or several; what lies in a folder of its own are tiles.
    files = dict.fromkeys(artefact.read(["file"])["file"].to_pylist())
    return [run_folder(config) / _published_name(step, file) for file in files if "/" not in file]


def _entry(step: Step, kind: Kind, folder: Location) -> AtlasEntry:
    base = f"{step.layer}/{step.view}"
    document = f"{base}/atlas-{step.grid}.json"

    def there(name: str) -> str | None:
        return f"{base}/{name}" if (folder / base / name).is_file() else None

    preview = there(f"atlas-{step.grid}-preview.png")
    with disk_errors(folder / document), opened(folder / document) as lines:
        numbers = document_numbers(lines)
    return entry_of(
        numbers,
        kind=kind,
        preview=preview,
        width_px=_width_px(folder / preview) if preview else None,
        atlas=f"{base}/atlas-{step.grid}.png",
        document_path=document,
        density=there("density.png"),
        scatter=there("scatter.png"),
    )


def _width_px(path: Location) -> int:
    from PIL import Image

    with Image.open(io.BytesIO(content_of(path))) as picture:
        return picture.width


def _summary(
    config: Config, made: Mapping[Step, Artefact], sheets: Sequence[Sheet], figures: Sequence[str]
) -> RunSummary:
    model = model_config(config)
    source = SOURCES[config.images.source]
    where = f"images of {config.images.path}" if source.takes_path else source.title
    return RunSummary(
        name=config.name,
        model=network_name(config.model.source, config.model.name),
        weights=weights_note(model),
        random_weights=has_random_weights(model),
        images=f"{index_of(made).num_rows:,} {where}",
        provenance={"config": config.model_dump(mode="json", exclude={"run"}), "model": model},
        sheets={sheet.words: sheet.file for sheet in sheets},
        figures=figures,
    )
