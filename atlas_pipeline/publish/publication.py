"""Publication: the folder `<workspace>/runs/<name>/`, made from finished artefacts.

No results are computed here. Files are copied piece by piece. Memory holds the numbers of one atlas; for a
sheet of many atlases, it holds the sheet and one of the pictures on it (see `sheets`).
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from atlas_pipeline.config.run_settings import model_config
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
from atlas_pipeline.engine.artefact import StoredArtefact
from atlas_pipeline.engine.declaration import Publishes
from atlas_pipeline.engine.location import Location, content_of, disk_errors
from atlas_pipeline.engine.stage import Step
from atlas_pipeline.images.sources import SOURCES
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.patch_test.patch_report import CONTACT_SHEET
from atlas_pipeline.publish.entries import AtlasEntry, RunSummary, entry_of
from atlas_pipeline.publish.lagging import earlier_artefacts
from atlas_pipeline.publish.report import report_page
from atlas_pipeline.publish.run_folder import RunFolder, folder_lock, opened, run_folder, sweep_run
from atlas_pipeline.publish.run_record import read_record
from atlas_pipeline.publish.sheets import Sheet, sheets_of
from atlas_pipeline.publish.unit_pages import (
    ATOM_PAGE,
    UNIT_PAGE,
    atom_pages,
    atoms_with_pages,
    unit_pages,
    units_with_pages,
)
from atlas_pipeline.publish.viewer_files import index_of, viewer_files
from atlas_pipeline.reader import CONFIG_FILE
from atlas_pipeline.tables.files import files_of
from atlas_pipeline.viewer.picture_card import CARD_FILE, PictureCard
from atlas_pipeline.views.view import Kind, views_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The result of a publication.

    Attributes: page: the viewer's page; None if no layout is done yet. unit_page, atom_page: the page of the
                units, and of the atoms; None if there are none. atlases: the published atlases.
    """

    page: Location | None
    unit_page: Location | None = None
    atom_page: Location | None = None
    atlases: tuple[AtlasEntry, ...]


def publish(
    config: Config,
    steps: Sequence[Step],
    store: Store,
    by_command: Sequence[Step] = (),
    earlier: Mapping[Step, StoredArtefact] | None = None,
) -> Publication:
    """Bring a run's folder up to date with the steps that are done.

    Args:   by_command: steps that a command requested in addition to the config's. Later publications keep
            their files as long as the run still has the artefacts they were made from. earlier: artefacts to
            show for steps that are not done, see `lagging`.
    Raises: ResourceError: the folder cannot be written.
    """
    # The lock keeps the sweep from removing a temporary file that another process is writing.
    with folder_lock(store, config.name) as is_locked:
        if is_locked:
            sweep_run(run_folder(config))
        return _publish(config, steps, store, by_command, earlier or {})


def publish_early(
    config: Config, steps: Sequence[Step], store: Store, by_command: Sequence[Step] = ()
) -> Publication | None:
    """`publish` while a run goes on, if the folder only gains by it; otherwise None.

    A folder that was made from artefacts that are no longer the run's, or not again yet, stays whole until
    the run ends. Artefacts that may lag are excepted: they are shown until their steps are done.
    """
    made = artefacts_of(steps, store)
    record = read_record(run_folder(config))
    others = (record.artefacts_of_run if record else set()) - {a.fingerprint for a in made.values()}
    earlier = earlier_artefacts(steps, made, others, store)
    if earlier is None:
        return None
    return publish(config, steps, store, by_command, earlier)


def _publish(
    config: Config,
    steps: Sequence[Step],
    store: Store,
    by_command: Sequence[Step],
    earlier: Mapping[Step, StoredArtefact],
) -> Publication:
    done = artefacts_of(steps, store)
    is_all = len(done) == len(steps)
    fingerprints = frozenset(artefact.fingerprint for artefact in done.values())
    reach = Reach(fingerprints=fingerprints) if is_all else reach_of(plan(steps, store))
    # A step that was finished meanwhile takes precedence.
    made = {step: done.get(step) or earlier[step] for step in steps if step in done or step in earlier}
    current = {artefact.fingerprint for artefact in made.values()}
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
        # The config forbids real patches; a contact sheet may be older than that setting.
        folder.stop_keeping(CONTACT_SHEET)
    pictures = _pictures(folder, current)
    num_units, num_atoms = units_with_pages(config, made), atoms_with_pages(config, made)
    viewer = viewer_files(
        config,
        views,
        made,
        has_report=bool(entries),
        has_units=bool(num_units),
        atom_layers=num_atoms,
        num_pictures=len(pictures),
    )
    sheets: list[Sheet] = []
    if entries:
        sheets = sheets_of(config, entries, made, folder.path)
        shown = dict.fromkeys(n for n in (*figures, *folder.kept(current)) if n.endswith(".png"))
        summary = replace(
            _summary(config, made),
            sheets={sheet.words: sheet.file for sheet in sheets},
            figures=list(shown),
            units=num_units,
            atoms=num_atoms,
            pictures=pictures,
            has_viewer=bool(viewer),
        )
        folder.write("report.html", report_page(summary, entries).encode())
    units = unit_pages(config, made, has_viewer=bool(viewer))
    atoms = atom_pages(config, made, has_viewer=bool(viewer))
    for name, content in (*viewer.items(), *units.items(), *atoms.items()):
        folder.write(name, content)
    # Sheets come late, because those of hundreds of atlases take long.
    for sheet in sheets:
        folder.write_drawn(sheet.file, sheet.sources, sheet.draw)
    # The config is written last: readers take it as the config that made all other files.
    folder.write(CONFIG_FILE, config.to_yaml().encode())
    folder.finish(current)
    return Publication(
        page=folder.path / "index.html" if viewer else None,
        unit_page=folder.path / UNIT_PAGE if units else None,
        atom_page=folder.path / ATOM_PAGE if atoms else None,
        atlases=tuple(entries),
    )


def _write_pictures(folder: RunFolder, step: Step, artefact: Artefact) -> list[str]:
    """Write the files of a step, if it has any; return their names in the folder."""
    if step.stage.publishes is None:
        return []
    names = []
    for file, pieces in files_of(artefact):
        names.append(_published_name(step, file))
        folder.write_pieces(names[-1], pieces)
    return names


def _published_name(step: Step, file: str) -> str:
    # A step that spans layers has a folder with the stage's name.
    return f"{step.layer}/{step.view}/{file}" if step.layer else f"{step.stage.name}/{file}"


def files_in_folder(config: Config, step: Step, store: Store) -> list[Location]:
    """Paths of a step's files in a run's folder; empty if it publishes none or is not done."""
    artefact = artefact_of(step, store)
    if artefact is None or step.stage.publishes is None:
        return []
    # A file takes one or more rows. Names with a folder are tiles and parts of a page, which are left out.
    files = dict.fromkeys(artefact.read(["file"])["file"].to_pylist())
    return [
        run_folder(config) / _published_name(step, file)
        for file in files
        if "/" not in file or file.endswith("/index.html")
    ]


def _entry(step: Step, kind: Kind, folder: Location) -> AtlasEntry:
    base = f"{step.layer}/{step.view}"
    document = f"{base}/atlas-{step.grid}.json"

    def existing(name: str) -> str | None:
        return f"{base}/{name}" if (folder / base / name).is_file() else None

    preview = existing(f"atlas-{step.grid}-preview.png")
    with disk_errors(folder / document), opened(folder / document) as lines:
        numbers = document_numbers(lines)
    return entry_of(
        numbers,
        kind=kind,
        preview=preview,
        width_px=_width_px(folder / preview) if preview else None,
        atlas=f"{base}/atlas-{step.grid}.png",
        document_path=document,
        density=existing("density.png"),
        scatter=existing("scatter.png"),
    )


def _width_px(path: Location) -> int:
    from PIL import Image

    with Image.open(io.BytesIO(content_of(path))) as picture:
        return picture.width


def _pictures(folder: RunFolder, fingerprints: Collection[str]) -> dict[str, PictureCard]:
    """The pictures with pages in the folder, by their page's folder, in the order of their file names."""
    cards = {}
    for name in folder.written(fingerprints):
        if name.endswith(f"/{CARD_FILE}"):
            path = folder.path / name
            with disk_errors(path), opened(path) as file:
                content = file.read()
            # A card that somebody altered costs its picture the place in the list, and no run its end.
            with suppress(ValueError, KeyError, TypeError):
                cards[name.removesuffix(f"/{CARD_FILE}")] = PictureCard.from_json(content)
    return dict(sorted(cards.items(), key=lambda item: (item[1].file, item[0])))


def _summary(config: Config, made: Mapping[Step, Artefact]) -> RunSummary:
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
    )
