"""atom_icons: make the icon of each atom with a page, by feature inversion of its direction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.pictures.real_magnitude import real_magnitude
from atlas_pipeline.tables.atom_table import shown_atoms
from atlas_pipeline.tables.chosen_units import unit_tasks
from atlas_pipeline.tables.columns import column_matrix

if TYPE_CHECKING:
    import torch

ICONS_PER_TASK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomIconsConfig:
    """num_shown: atoms with pages. invert: see `inversion.InversionSettings`."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    num_shown: int
    invert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomIconsInputs:
    """The atoms and their shares; precision and real crops where the icons' settings need them."""

    atoms: Artefact
    examples: Artefact
    whiten: Artefact | None = None
    crops: Artefact | None = None


IconsJob = Job[AtomIconsConfig, AtomIconsInputs]


def atom_seed(seed: int, atom: int) -> int:
    """The 63-bit seed of an atom's icon; it depends on the run's seed and the atom alone."""
    digest = hashlib.blake2b(f"{seed}/atom/{atom}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _split(job: IconsJob) -> list[Task]:
    return unit_tasks(min(job.config.num_shown, job.inputs.atoms.num_rows), ICONS_PER_TASK)


def _compute(task: Task, jobs: Sequence[IconsJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert, placed

    (job,) = jobs
    config, settings = job.config, InversionSettings(**job.config.invert)
    shown = shown_atoms(job.inputs.examples, config.num_shown)[task["start"] : task["stop"]]
    directions = column_matrix(job.inputs.atoms.read(["direction"]), "direction")
    # A decoder may have rows of zeros, which point nowhere.
    shown = shown[np.square(directions[shown]).sum(1) > 0]
    if not len(shown):
        return [Output(table=_table(shown, [], np.zeros(0, np.float32)))]
    cut = opened_cut(job.settings.model, config.layer, runtime.device)
    icons = invert(
        placed(cut, settings.size_px, runtime.device),
        torch.tensor(directions[shown]),
        [atom_seed(config.seed, atom) for atom in shown.tolist()],
        settings,
        precision=_precision(job),
        magnitude=real_magnitude(job.inputs.crops, settings),
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=runtime.advance,
    )
    pngs = pngs_of(icons.images.numpy(), torch.get_num_threads())
    return [Output(table=_table(shown, pngs, icons.fidelity.numpy()))]


def _table(atoms: np.ndarray, pngs: Sequence[bytes], fidelity: np.ndarray) -> pa.Table:
    columns = {"atom": atoms.astype(np.int32), "icon": pa.array(pngs, pa.binary()), "fidelity": fidelity}
    return pa.table(columns)


def _precision(job: IconsJob) -> torch.Tensor | None:
    import torch

    if job.inputs.whiten is None:
        return None
    return torch.tensor(column_matrix(job.inputs.whiten.read(["precision"]), "precision"))


ATOM_ICONS = Stage(
    name="atom_icons",
    version=1,
    config=AtomIconsConfig,
    inputs=AtomIconsInputs,
    unit="icons",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=(Column("atom", pa.int32()), Column("icon", pa.binary()), Column("fidelity", pa.float32())),
    uses_device=True,
    commands=("directions",),
    is_checked=True,
)


def step(config: Config, atoms: Step, examples: Step, precision: Step, crops: Step) -> Step:
    """The icons of one layer's atoms."""
    assert config.directions is not None
    inputs = {"atoms": atoms, "examples": examples}
    if config.invert.whitening:
        inputs["whiten"] = precision
    if config.invert.image == "maco":
        inputs["crops"] = crops
    return Step(
        stage=ATOM_ICONS,
        config=AtomIconsConfig(
            model=model_config(config),
            layer=str(atoms.layer),
            seed=config.seed,
            num_shown=config.directions.num_shown,
            # No icon starts from another.
            invert={**config.invert.of_icons(), "warm_steps": None},
        ),
        inputs=inputs,
        settings=run_settings(config),
        layer=atoms.layer,
    )
