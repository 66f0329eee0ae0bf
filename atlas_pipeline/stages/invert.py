"""invert: feature inversion of each cell's mean activation: the icon, and numbers that say if it is true."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa

from atlas_pipeline.config import Config
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics import fidelity, legibility
from atlas_pipeline.schema import column_matrix
from atlas_pipeline.stages.opened import model_config, model_spec, opened_cut
from atlas_pipeline.stages.tables import png_of, precision_of, real_crops

# A task is what a killed run loses at most, and what a GPU is given at once.
CELLS_PER_TASK = 64


def _split(job: Job) -> list[Task]:
    num_cells = job.inputs["bin"].num_rows
    return [
        {"start": start, "stop": min(start + CELLS_PER_TASK, num_cells)}
        for start in range(0, num_cells, CELLS_PER_TASK)
    ]


def icon_seed(seed: int, row: int, col: int) -> int:
    """The seed of a cell's icon: a function of the cell alone, 63 bits."""
    digest = hashlib.blake2b(f"{seed}/{row}/{col}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _compute(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert

    (job,) = jobs
    cells = job.inputs["bin"].read(["row", "col", "activation"])
    means = column_matrix(cells, "activation")
    mine = slice(task["start"], task["stop"])
    rows, cols = cells["row"].to_numpy()[mine], cells["col"].to_numpy()[mine]
    precision = precision_of(job.inputs["whiten"])
    whitened = job.config["invert"]["metric"] == "whitened"
    icons = invert(
        opened_cut(job.settings["model"], job.config["layer"], runtime.device),
        torch.tensor(means[mine]),
        seeds=[icon_seed(job.config["seed"], int(r), int(c)) for r, c in zip(rows, cols, strict=True)],
        settings=InversionSettings(**job.config["invert"]),
        precision=torch.tensor(precision) if whitened else None,
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=runtime.advance,
    )
    images, activation = icons.images.numpy(), icons.activation.numpy()
    return [
        Output(
            table=pa.table(
                {
                    "row": rows,
                    "col": cols,
                    "icon": pa.array([png_of(image) for image in images], pa.binary()),
                    "fidelity": fidelity.fidelity(activation, means[mine]),
                    "fidelity_whitened": fidelity.fidelity_whitened(activation, means[mine], precision),
                    "round_trip": fidelity.round_trip(
                        activation, means, np.arange(task["start"], task["stop"])
                    ),
                    "objective": icons.objective.numpy(),
                    "steps": icons.steps.numpy(),
                    **_legibility(images, job.inputs["crops"]),
                }
            )
        )
    ]


def _legibility(images: np.ndarray, crops: Artefact) -> dict[str, np.ndarray]:
    real = legibility.real_statistics(real_crops(crops))
    return {
        "saturated": legibility.saturated_share(images),
        "spectrum_distance": legibility.spectrum_distance(images, real),
        "colour_distance": legibility.colour_distance(images, real),
    }


INVERT = Stage(
    name="invert",
    version=1,
    unit="icons",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
)


def step(config: Config, cells: Step, precision: Step, crops: Step) -> Step:
    """The icons of one grid."""
    return Step(
        stage=INVERT,
        config={
            "model": model_config(config),
            "layer": cells.layer,
            "seed": config.seed,
            "invert": asdict(config.invert),
        },
        inputs={"bin": cells, "whiten": precision, "crops": crops},
        settings={"model": model_spec(config)},
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
