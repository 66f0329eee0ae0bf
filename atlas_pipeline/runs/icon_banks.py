"""Banks of finished icons: `atlas bank` collects them, and a run refuses one that does not fit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Step, Store, canonical_json
from atlas_pipeline.engine.manifest import Manifest, read_manifest
from atlas_pipeline.errors import ConfigError, CorruptArtefactError, counted
from atlas_pipeline.models.network_name import model_title, weights_note
from atlas_pipeline.stages.atlas.bin import BIN
from atlas_pipeline.stages.atlas.invert import INVERT
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.tables.icon_bank import Bank, open_bank, write_bank

_REMEDY = "make one with: atlas bank CONFIG, or leave it out"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBank:
    """A bank, and lines on icons of the workspace that it leaves out."""

    bank: Bank
    left_out: tuple[str, ...]


def make_bank(config: Config, store: Store) -> MadeBank:
    """Collect the finished icons of the workspace that fit a run: its network, its layers, its icons' size.

    They may be of any run, view and grid. If several icons were made for one direction, the most faithful is
    kept.

    Raises: ConfigError: there is none. ResourceError: the workspace cannot be read or written.
    """
    model, workspace = model_config(config), config.run.workspace
    shape = size_px, num_planes = _icon_shape(config.invert.of_icons())
    collected: dict[str, list[pa.Table]] = {layer: [] for layer in config.layers}
    num_other, num_lost = 0, 0
    for icons in store.manifests(INVERT.name):
        if not _is_of(icons, model, config.layers):
            continue
        if _icon_shape(icons.config["invert"]) != shape:
            num_other += icons.num_rows
            continue
        table = _with_directions(icons, store)
        if table is None:
            num_lost += icons.num_rows
        else:
            collected[icons.config["layer"]].append(table)
    banked = {layer: _most_faithful(tables) for layer, tables in collected.items() if tables}
    if not any(map(len, banked.values())):
        raise ConfigError(
            f"{workspace} has no finished icons of {size_px} px for this network and "
            f"{', '.join(config.layers)}; make some with: atlas run CONFIG"
        )
    bank = write_bank(workspace, model, size_px, num_planes, banked)
    left_out = []
    if num_other:
        left_out.append(f"left out: {counted(num_other, 'icon')} of another size, or with or without opacity")
    if num_lost:
        left_out.append(f"left out: {counted(num_lost, 'icon')} whose files or cells are damaged or gone")
    return MadeBank(bank=bank, left_out=tuple(left_out))


def refuse_bank(config: Config, left: Iterable[Step]) -> list[str]:
    """Look at the bank at the start of a run that starts icons from it.

    Returns: a line for each layer that the bank has no icons of.
    Raises:  ConfigError: there is no such bank, or it is damaged, of another version, of another network, of
             other icons, or has none of the layers.
    """
    steps = [step for step in left if step.stage.name == INVERT.name and step.config.bank is not None]
    if not steps:
        return []
    bank = open_bank(steps[0].settings.bank, steps[0].config.bank)
    where = f"invert.bank {config.invert.bank}"
    model = steps[0].config.model
    if canonical_json(bank.model) != canonical_json(model):
        raise ConfigError(
            f"{where} is of another network ({_title(bank.model)}) than the run's ({_title(model)}); "
            f"{_REMEDY}"
        )
    size_px, num_planes = _icon_shape(steps[0].config.invert)
    if (bank.size_px, bank.num_planes) != (size_px, num_planes):
        raise ConfigError(
            f"{where} has icons of {bank.size_px} px with {bank.num_planes} planes, and the run makes icons "
            f"of {size_px} px with {num_planes}; {_REMEDY}"
        )
    layers = list(dict.fromkeys(str(step.layer) for step in steps))
    missing = [layer for layer in layers if bank.of_layer(layer) is None]
    known = ", ".join(layer.layer for layer in bank.layers)
    if missing == layers:
        raise ConfigError(f"{where} has no icons of {', '.join(layers)}, only of {known}; {_REMEDY}")
    return [f"{where} has no icons of {layer}, which starts without it" for layer in missing]


def _title(model: Mapping[str, Any]) -> str:
    return f"{model_title(model)}, {weights_note(model)}"


def _icon_shape(invert: Mapping[str, Any]) -> tuple[int, int]:
    """Side in pixels, and number of planes, of the icons of an invert section."""
    return invert["size_px"], 4 if invert["alpha"] else 3


def _is_of(icons: Manifest, model: Mapping[str, Any], layers: Sequence[str]) -> bool:
    config = icons.config
    return (
        icons.version == INVERT.version
        and config["layer"] in layers
        and canonical_json(config["model"]) == canonical_json(model)
    )


def _with_directions(icons: Manifest, store: Store) -> pa.Table | None:
    """A table of direction, icon and fidelity; None if a file or the cells are damaged or gone."""
    try:
        cells = read_manifest(store.folder(BIN.name, icons.inputs["bin"]["fingerprint"]))
        if cells is None or store.damaged(icons) or store.damaged(cells):
            return None
        pictures = store.artefact(icons).read(["icon", "fidelity"])
        directions = column_matrix(store.artefact(cells).read(["activation"]), "activation")
    except CorruptArtefactError:
        return None
    return pa.table(
        {
            "direction": matrix_column(directions.astype(np.float32)),
            "icon": pictures["icon"],
            "fidelity": pictures["fidelity"],
        }
    )


def _most_faithful(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables; of rows with equal directions, the one with the highest fidelity."""
    table = pa.concat_tables(tables).combine_chunks()
    directions, fidelity = column_matrix(table, "direction"), table["fidelity"].to_numpy()
    best: dict[bytes, int] = {}
    for row, direction in enumerate(directions):
        known = best.setdefault(direction.tobytes(), row)
        if fidelity[row] > fidelity[known]:
            best[direction.tobytes()] = row
    return table.take(pa.array(sorted(best.values()), pa.int64()))


def bank_lines(made: MadeBank) -> Iterator[str]:
    """Lines for the terminal: icons by layer, then what was left out."""
    bank = made.bank
    for layer in bank.layers:
        yield f"{layer.layer}: {counted(layer.num_icons, 'icon')} of {bank.size_px} px"
    yield from made.left_out
