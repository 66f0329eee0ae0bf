"""atom_examples: collect the numbers of each atom, and examples from the whole range of its strength."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.unit_state import UnitState, empty_state
from atlas_pipeline.tables.atom_table import RANGES, SparseStrengths, strengths_of_table
from atlas_pipeline.tables.unit_table import STATE_COLUMNS, state_columns

# Examples kept: the strongest, and those of each range.
NUM_TOP, PER_RANGE = 9, 6
# Strengths of all atoms in memory at once, and activations read at once.
_STRENGTHS_AT_ONCE, _MOST_ROWS = 1 << 22, 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomExamplesConfig:
    """seed: of the draw of examples."""

    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomExamplesInputs:
    """The places of the layer's activations, the atoms with their scale, and their strengths."""

    sample: Artefact
    atoms: Artefact
    strengths: Artefact


ExamplesJob = Job[AtomExamplesConfig, AtomExamplesInputs]


def _compute(task: Task, jobs: Sequence[ExamplesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    num_atoms = job.inputs.atoms.num_rows
    state = empty_state(num_atoms, NUM_TOP, len(RANGES) + 1, PER_RANGE)
    carried, left, energy = np.zeros(num_atoms), 0.0, 0.0
    for table, some in _blocks(job):
        state = state.merged(_state(job, table, some))
        carried += np.bincount(some.atom, some.part * some.energy[some.row], num_atoms)
        left += float((some.left * some.energy).sum())
        energy += float(some.energy.sum())
        runtime.advance(table.num_rows)
    whole = energy or 1.0
    columns = {"atom": np.arange(num_atoms, dtype=np.int32), "share": carried / whole, **state_columns(state)}
    num_images = int(state.num_images.max(initial=0))
    return [
        Output(
            table=pa.table(columns),
            notes={
                "left": left / whole,
                "num_images": num_images,
                "num_activations": job.inputs.sample.num_rows,
                "num_dead": int((state.num_positive == 0).sum()),
            },
        )
    ]


def _blocks(job: ExamplesJob) -> Iterator[tuple[pa.Table, SparseStrengths]]:
    """Blocks of whole images: their places, and the strengths in them."""
    inputs = job.inputs
    per_image = inputs.sample.config["positions_per_image"]
    rows = min(_MOST_ROWS, _STRENGTHS_AT_ONCE // max(1, inputs.atoms.num_rows))
    step = max(1, rows // per_image) * per_image
    for start in range(0, inputs.sample.num_rows, step):
        stop = min(start + step, inputs.sample.num_rows)
        places = inputs.sample.rows(start, stop, ["image_id", "row", "col", "width"])
        yield places, strengths_of_table(inputs.strengths.rows(start, stop))


def _state(job: ExamplesJob, places: pa.Table, some: SparseStrengths) -> UnitState:
    """The state of the atoms over some images, whose sampled positions take the place of a map's."""
    import torch

    from atlas_pipeline.models.unit_values import UnitScale, unit_state

    scale = job.inputs.atoms.read(["mean", "sd"])
    mean, sd = (scale[name].to_numpy() for name in ("mean", "sd"))
    per_image = job.inputs.sample.config["positions_per_image"]
    strengths = some.matrix(some.strength, np.arange(len(mean)))
    # (image, position, atom) -> (image, atom, position, 1).
    values = torch.tensor(strengths.reshape(-1, per_image, len(mean)).transpose(0, 2, 1)[..., None])
    image_ids = places["image_id"].to_numpy().reshape(-1, per_image)
    state = unit_state(
        values,
        image_ids[:, 0],
        UnitScale(
            mean=torch.tensor(mean),
            sd=torch.tensor(np.where(sd > 0, sd, 1.0)),
            ranges=RANGES,
            num_top=NUM_TOP,
            per_range=PER_RANGE,
            seed=job.config.seed,
        ),
    )
    return _placed(state, image_ids[:, 0], places)


def _placed(state: UnitState, image_ids: np.ndarray, places: pa.Table) -> UnitState:
    """The state with its places on the layer's map, instead of numbers of sampled positions."""
    from dataclasses import replace

    row, col, width = (places[name].to_numpy().astype(np.int64) for name in ("row", "col", "width"))
    on_map = (row * width + col).reshape(len(image_ids), -1)

    def of(images: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        known = np.searchsorted(image_ids, images).clip(0, len(image_ids) - 1)
        return np.where(images >= 0, on_map[known, numbers], 0).astype(np.int32)

    return replace(
        state,
        top_place=of(state.top_image, state.top_place),
        range_place=of(state.range_image, state.range_place),
    )


def _remarks(step: Step, artefact: Artefact) -> Iterator[str]:
    notes: Mapping[str, Any] = artefact.notes
    if notes["num_dead"]:
        yield (
            f"{step.layer}: {notes['num_dead']} of {artefact.num_rows} atoms are dead: no sampled activation "
            "has any of them; their pages say so"
        )


ATOM_EXAMPLES = Stage(
    name="atom_examples",
    version=1,
    config=AtomExamplesConfig,
    inputs=AtomExamplesInputs,
    unit="rows",
    split=lambda job: [{"rows": job.inputs.sample.num_rows}],
    size=lambda task: task["rows"],
    compute=_compute,
    columns=(Column("atom", pa.int32()), Column("share", pa.float64()), *STATE_COLUMNS),
    commands=("directions",),
    remarks=_remarks,
)


def step(seed: int, sample: Step, atoms: Step, strengths: Step) -> Step:
    """The numbers and examples of one layer's atoms."""
    return Step(
        stage=ATOM_EXAMPLES,
        config=AtomExamplesConfig(seed=seed),
        inputs={"sample": sample, "atoms": atoms, "strengths": strengths},
        layer=sample.layer,
    )
