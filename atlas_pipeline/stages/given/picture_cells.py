"""picture_cells: the cell of a layer's atlas on which each position of a picture lies.

It is the cell whose mean activation has the highest cosine to the position's activation. docs/image.md says
how often that is the right cell, and that whitening makes it rarer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.fidelity import nearest_with_cosine
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.given_settings import given_map

# A position whose activation is zero has no direction.
NO_CELL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureCellsConfig:
    """grid: cells along a side."""

    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureCellsInputs:
    """The picture's activations, and the cells of one grid of the layer's atlas."""

    map: Artefact
    bin: Artefact


def _compute(
    task: Task, jobs: Sequence[Job[PictureCellsConfig, PictureCellsInputs]], runtime: Runtime
) -> list[Output]:
    (job,) = jobs
    activations = given_map(job.inputs.map).activations
    cell = np.full(len(activations), NO_CELL, np.int64)
    best, first = np.full(len(activations), -np.inf), 0
    # One batch at a time: the cells of a fine grid of a wide layer take gigabytes.
    for part in job.inputs.bin.batches(["activation"]):
        near, cosine = nearest_with_cosine(activations, column_matrix(part, "activation"))
        is_nearer = cosine > best
        cell[is_nearer], best[is_nearer] = near[is_nearer] + first, cosine[is_nearer]
        first += part.num_rows
    silent = ~activations.any(axis=1)
    cell[silent], best[silent] = NO_CELL, 0
    runtime.advance(1)
    table = {"cell": pa.array(cell, pa.int32()), "cosine": pa.array(best, pa.float32())}
    return [Output(table=pa.table(table))]


PICTURE_CELLS = Stage(
    name="picture_cells",
    version=1,
    config=PictureCellsConfig,
    inputs=PictureCellsInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(Column("cell", pa.int32()), Column("cosine", pa.float32())),
    commands=("image",),
)


def step(activations: Step, cells: Step) -> Step:
    """The cells of one picture in one layer. cells: of the finest grid."""
    return Step(
        stage=PICTURE_CELLS,
        config=PictureCellsConfig(grid=int(cells.grid or 0)),
        inputs={"map": activations, "bin": cells},
        layer=activations.layer,
        view=activations.view,
    )
