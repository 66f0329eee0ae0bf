"""judge_features: show the finished icons and real patches of their cells to the judge, a second network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import judge_config, model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.random_keys import random_keys
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.tables.cell_patches import NUM_PATCHES, IconInputs, cell_patches, cell_tasks
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.narrowing import narrow

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFeaturesStepConfig:
    """judge: the second network. model, layer: they decide where the patches lie. seed: of the noise."""

    judge: Mapping[str, Any]
    model: Mapping[str, Any]
    layer: str
    seed: int


JudgeFeaturesJob = Job[JudgeFeaturesStepConfig, IconInputs]


def _compute(task: Task, jobs: Sequence[JudgeFeaturesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    start, stop = task["start"], task["stop"]
    cells = job.inputs.bin.rows(start, stop, ["row", "col", "examples"])
    pngs = job.inputs.invert.rows(start, stop, ["icon"])["icon"]
    # A selection may have no icons.
    icons = over_ground(pixels(pngs), MID_GREY) if len(pngs) else np.empty((0, 1, 1, 3), np.uint8)
    examples = [of_cell[:NUM_PATCHES] for of_cell in cells["examples"].to_pylist()]
    patches = cell_patches(
        job.inputs.index,
        examples,
        job.settings,
        job.config.layer,
        icons.shape[1],
        runtime.device,
        runtime.workers or 0,
    )
    seen = _Judge(job, runtime)
    ends = np.cumsum([len(of_cell) for of_cell in patches])[:-1]
    of_patches = np.split(seen(np.concatenate(patches)), ends) if patches else []
    # The held-out patch is of middling nearness to the cell's mean.
    held_out = [len(of_cell) // 2 for of_cell in of_patches]
    vectors = {
        "icon": seen(icons),
        "noise": seen(_noise(cells, icons.shape[1], job.config.seed)),
        "real": _stacked([of_cell.mean(axis=0) for of_cell in of_patches]),
        "held_out": _stacked([of_cell[k] for of_cell, k in zip(of_patches, held_out, strict=True)]),
        "rest": _stacked(
            [_mean_without(of_cell, k) for of_cell, k in zip(of_patches, held_out, strict=True)]
        ),
    }
    runtime.advance(len(icons))
    return [
        Output(
            table=pa.table(
                {
                    "row": cells["row"],
                    "col": cells["col"],
                    "num_patches": pa.array([len(of_cell) for of_cell in patches], pa.int16()),
                    **{name: matrix_column(narrow(values)) for name, values in vectors.items()},
                }
            )
        )
    ]


class _Judge:
    """Pictures (picture, side, side, 3) uint8 -> the judge's penultimate features (picture, feature)."""

    def __init__(self, job: JudgeFeaturesJob, runtime: Runtime) -> None:
        self.network = opened_network(job.settings.judge, runtime.device)
        self.device = runtime.device

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Raises: ModelError: a feature is infinite or NaN."""
        import torch
        from torch.nn.functional import interpolate

        from atlas_pipeline.inversion.batch_memory import in_batches
        from atlas_pipeline.models.penultimate import penultimate_features

        side, given = self.network.preprocess.crop, torch.tensor(pictures)

        def features(which: torch.Tensor) -> torch.Tensor:
            images = given[which].to(self.device).permute(0, 3, 1, 2).float() / 255
            # Icons and patches are enlarged alike, so the judge sees both in one field of view.
            fitted = interpolate(images, size=side, mode="bilinear", antialias=True).clamp(0, 1)
            return penultimate_features(self.network, fitted)

        parts = list(in_batches(features, len(pictures), self.device))
        found = torch.cat(parts).numpy() if parts else np.empty((0, 1), np.float32)
        if not np.isfinite(found).all():
            raise ModelError(
                f"invert.judge: the features of {self.network.name} are not finite for some pictures; "
                "name another judge"
            )
        return found


def _noise(cells: pa.Table, side: int, seed: int) -> np.ndarray:
    """One image of uniform noise for each cell, (cell, side, side, 3) uint8; it depends on seed and cell."""
    numbers = cells["row"].to_numpy().astype(np.int64) * 2**16 + cells["col"].to_numpy()
    images = [
        np.random.default_rng(key).integers(0, 256, (side, side, 3), dtype=np.uint8)
        for key in random_keys(numbers, seed).tolist()
    ]
    return np.stack(images) if images else np.empty((0, side, side, 3), np.uint8)


def _mean_without(features: np.ndarray, left_out: int) -> np.ndarray:
    """The mean of all rows but one; zeros if there is one row."""
    others = np.delete(features, left_out, axis=0)
    return others.mean(axis=0) if len(others) else np.zeros_like(features[0])


def _stacked(vectors: list[np.ndarray]) -> np.ndarray:
    return np.stack(vectors) if vectors else np.empty((0, 1), np.float32)


_VECTOR = Vector((pa.float16(), pa.float32()), "feature")

JUDGE_FEATURES = Stage(
    name="judge_features",
    version=2,
    config=JudgeFeaturesStepConfig,
    inputs=IconInputs,
    unit="icons",
    split=lambda job: cell_tasks(job.inputs.bin),
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=(
        Column("row", pa.int16()),
        Column("col", pa.int16()),
        Column("num_patches", pa.int16()),
        *(Column(name, _VECTOR) for name in ("icon", "noise", "real", "held_out", "rest")),
    ),
    commands=("invert",),
)


def step(config: Config, index: Step, cells: Step, icons: Step) -> Step | None:
    """The judge's features of a grid's icons and patches; None if the config names no judge.

    Raises: ConfigError: the judge is the network that makes the icons.
    """
    if config.invert.judge is None:
        return None
    return Step(
        stage=JUDGE_FEATURES,
        config=JudgeFeaturesStepConfig(
            judge=judge_config(config),
            model=model_config(config),
            layer=str(cells.layer),
            seed=config.seed,
        ),
        inputs={"index": index, "bin": cells, "invert": icons},
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
