"""invert: make each cell's icon by feature inversion of its mean activation, and measure its fidelity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.icon_numbers import legibility_numbers, legibility_of_real, noise_activation
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_cache import opened_cut
from atlas_pipeline.numerics import fidelity
from atlas_pipeline.pictures.png_codec import over_ground, pixels, png_of
from atlas_pipeline.tables.columns import column_matrix, columns_of_measures

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.inversion import InversionSettings

# A killed run loses at most one task per worker. A GPU works on the cells of one task at a time.
CELLS_PER_TASK = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertStepConfig:
    """invert: see `inversion.InversionSettings`; warm_steps is None for icons without a warm start."""

    model: Mapping[str, Any]
    layer: str
    seed: int
    invert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertInputs:
    """The cells, the layer's precision and real crops; with a warm start, also the next coarser grid."""

    bin: Artefact
    whiten: Artefact
    crops: Artefact
    coarser_bin: Artefact | None = None
    coarser_icons: Artefact | None = None


InvertJob = Job[InvertStepConfig, InvertInputs]


def _split(job: InvertJob) -> list[Task]:
    num_cells = job.inputs.bin.num_rows
    # A grid over a selection may have no cells; it then has one empty task.
    num_tasks = max(1, -(-num_cells // CELLS_PER_TASK))
    # Tasks of equal size: workers would sit idle while one of them finishes an extra small task.
    ends = [index * num_cells // num_tasks for index in range(num_tasks + 1)]
    return [{"start": start, "stop": stop} for start, stop in pairwise(ends)]


def icon_seed(seed: int, row: int, col: int) -> int:
    """The 63-bit seed of a cell's icon; it depends on the run's seed and the cell alone."""
    digest = hashlib.blake2b(f"{seed}/{row}/{col}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _compute(task: Task, jobs: Sequence[InvertJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert

    (job,) = jobs
    settings = InversionSettings(**job.config.invert)
    cells = job.inputs.bin.read(["row", "col", "activation"])
    means = column_matrix(cells, "activation")
    in_task = slice(task["start"], task["stop"])
    rows, cols = cells["row"].to_numpy()[in_task], cells["col"].to_numpy()[in_task]
    precision = column_matrix(job.inputs.whiten.read(), "precision")
    crops = pixels(job.inputs.crops.read(["crop"])["crop"])
    feature_map = opened_cut(job.settings.model, job.config.layer, runtime.device)
    icons = invert(
        feature_map,
        torch.tensor(means[in_task]),
        seeds=[icon_seed(job.config.seed, int(r), int(c)) for r, c in zip(rows, cols, strict=True)],
        settings=settings,
        precision=torch.tensor(precision) if settings.metric == "whitened" else None,
        start=_start(job.inputs, means[in_task]),
        magnitude=_magnitude(crops, settings),
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=runtime.advance,
    )
    images, activation = icons.images.numpy(), icons.activation.numpy()
    noise = noise_activation(feature_map, settings.size_px, job.config.seed, runtime.device)
    return [
        Output(
            table=pa.table(
                {
                    "row": rows,
                    "col": cols,
                    "icon": pa.array([png_of(image) for image in images], pa.binary()),
                    "fidelity": fidelity.fidelity(activation, means[in_task]),
                    "fidelity_whitened": fidelity.fidelity_whitened(activation, means[in_task], precision),
                    "round_trip": fidelity.round_trip(
                        activation, means, np.arange(task["start"], task["stop"])
                    ),
                    "noise": fidelity.chance_fidelity(noise, means[in_task]),
                    "objective": icons.objective.numpy(),
                    "steps": icons.steps.numpy(),
                    **legibility_numbers(over_ground(images, MID_GREY), crops),
                }
            ),
            notes={"real_crops": legibility_of_real(crops)},
        )
    ]


def _start(inputs: InvertInputs, means: np.ndarray) -> torch.Tensor | None:
    """For each cell, the finished icon of the coarser cell whose mean has the nearest direction; or None."""
    import torch

    if inputs.coarser_bin is None or inputs.coarser_icons is None:
        return None
    coarser = column_matrix(inputs.coarser_bin.read(["activation"]), "activation")
    icons = inputs.coarser_icons.read(["icon"])["icon"]
    return torch.tensor(pixels(icons.take(pa.array(fidelity.nearest(means, coarser)))))


def _summarise(job: InvertJob, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    # The notes describe the real crops, and are equal for all tasks.
    return notes[0] if notes else {}


def _magnitude(crops: np.ndarray, settings: InversionSettings) -> torch.Tensor | None:
    import torch

    from atlas_pipeline.inversion import magnitude_spectrum

    return magnitude_spectrum(torch.tensor(crops), settings) if settings.image == "maco" else None


INVERT = Stage(
    name="invert",
    version=3,
    config=InvertStepConfig,
    inputs=InvertInputs,
    unit="icons",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("icon", pa.binary()),
        Column("steps", pa.int32()),
        Column("objective", pa.float32()),
        *columns_of_measures("invert"),
    ),
    commands=("invert",),
    is_checked=True,
)


def steps(config: Config, grids: Mapping[int, Step], precision: Step, crops: Step) -> dict[int, Step]:
    """The icons of every grid of a view; each grid starts from the next coarser grid listed before it.

    Only grids listed before count, so that adding a grid at the end leaves the other icons unchanged.
    """
    made: dict[int, Step] = {}
    for size, cells in grids.items():
        inputs = {"bin": cells, "whiten": precision, "crops": crops}
        invert = config.invert.of_icons()
        coarser = max((other for other in made if other < size), default=None)
        if coarser is not None and config.invert.warm_steps is not None:
            inputs |= {"coarser_bin": grids[coarser], "coarser_icons": made[coarser]}
        else:
            # warm_steps has no effect without a warm start, so it must not change the fingerprint.
            invert["warm_steps"] = None
        made[size] = _step(config, cells, inputs, invert)
    return made


def _step(config: Config, cells: Step, inputs: Mapping[str, Step], invert: Mapping[str, Any]) -> Step:
    return Step(
        stage=INVERT,
        config=InvertStepConfig(
            model=model_config(config), layer=str(cells.layer), seed=config.seed, invert=invert
        ),
        inputs=inputs,
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
