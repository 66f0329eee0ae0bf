"""yardsticks: measure finished icons against real patches of their cells: their path, and their ground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Notes, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_cache import opened_cut, opened_network
from atlas_pipeline.numerics.ground import field_mask, mean_energy, share_in_field
from atlas_pipeline.numerics.path_likeness import over_layers, path_likeness
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.tables.cell_patches import NUM_PATCHES, IconInputs, cell_patches, cell_tasks
from atlas_pipeline.tables.columns import columns_of_measures

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.inversion import FeatureMap

# Real crops over which the field is averaged, and those that stand for patches of other cells.
NUM_FIELD, NUM_OTHERS = 32, 64
NUM_NOISE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class YardsticksStepConfig:
    """The network and layer that the icons were made for; seed: of the noise."""

    model: Mapping[str, Any]
    layer: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class YardsticksInputs(IconInputs):
    """crops: real crops of the icons' size."""

    crops: Artefact


YardsticksJob = Job[YardsticksStepConfig, YardsticksInputs]


def _compute(task: Task, jobs: Sequence[YardsticksJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    start, stop = task["start"], task["stop"]
    cells = job.inputs.bin.rows(start, stop, ["row", "col", "examples"])
    crops = pixels(job.inputs.crops.read(["crop"])["crop"])
    side = crops.shape[1]
    pngs = job.inputs.invert.rows(start, stop, ["icon"])["icon"]
    icons = over_ground(pixels(pngs), MID_GREY) if len(pngs) else np.empty((0, side, side, 3), np.uint8)
    field = _field(job, crops[:NUM_FIELD], runtime)
    mask = field_mask(field)
    layers, path, others = _paths(job, cells["examples"].to_pylist(), icons, crops, field, runtime)
    runtime.advance(len(icons))
    return [
        Output(
            table=pa.table(
                {
                    "row": cells["row"],
                    "col": cells["col"],
                    "path": over_layers(path),
                    "path_other": others,
                    "path_by_layer": pa.array(list(path), pa.list_(pa.float32())),
                    "ground": share_in_field(icons, mask),
                }
            ),
            notes={
                "path_layers": layers,
                "real_crops": {"ground_real": float(np.nanmedian(share_in_field(crops, mask)))},
                "noise": {"ground_noise": float(mask.mean())},
            },
        )
    ]


def _field(job: YardsticksJob, crops: np.ndarray, runtime: Runtime) -> np.ndarray:
    """The position's effective receptive field: (side, side), the squared gradient over real crops."""
    import torch

    from atlas_pipeline.inversion.batch_memory import in_batches
    from atlas_pipeline.inversion.objective import centre_activation
    from atlas_pipeline.models.effective_field import gradient_energy

    cut = _placed_cut(job, crops.shape[1], runtime)
    images = _in_unit_range(torch.tensor(crops))
    with torch.no_grad():
        num_channels = cut(images[:1].to(runtime.device)).shape[1]
    signs = np.random.default_rng(job.config.seed).integers(0, 2, (len(images), num_channels)) * 2 - 1

    def energy(which: torch.Tensor) -> torch.Tensor:
        return gradient_energy(
            lambda given: centre_activation(cut(given)),
            images[which].to(runtime.device),
            torch.tensor(signs)[which].to(runtime.device),
        )

    return mean_energy(torch.cat(list(in_batches(energy, len(images), runtime.device))).numpy())


def _placed_cut(job: YardsticksJob, side: int, runtime: Runtime) -> FeatureMap:
    """The network up to the atlas's layer, which sees icons as it did when they were made."""
    from atlas_pipeline.inversion.placement import placed

    cut = opened_cut(job.settings.model, job.config.layer, runtime.device)
    return placed(cut, side, runtime.device)


def _paths(
    job: YardsticksJob,
    examples: Sequence[Sequence[Mapping[str, Any]]],
    icons: np.ndarray,
    crops: np.ndarray,
    field: np.ndarray,
    runtime: Runtime,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The earlier layers; the icons' likeness (icon, layer); the median likeness of crops (icon,)."""
    import torch

    from atlas_pipeline.inversion.batch_memory import in_batches
    from atlas_pipeline.inversion.placement import moved, shift_px_of
    from atlas_pipeline.models.earlier_layers import earlier_layers, field_means

    network = opened_network(job.settings.model, runtime.device)
    layers = earlier_layers(network, job.config.layer)
    if not layers or not len(icons):
        return layers, np.empty((len(icons), 0), np.float32), np.full(len(icons), np.nan, np.float32)
    shift_px = shift_px_of(_placed_cut(job, icons.shape[1], runtime))
    weights = moved(torch.tensor(field, dtype=torch.float32), shift_px)

    def means(pictures: np.ndarray) -> np.ndarray:
        given = torch.tensor(pictures)

        def in_batch(which: torch.Tensor) -> torch.Tensor:
            images = moved(_in_unit_range(given[which].to(runtime.device)), shift_px)
            return field_means(network, layers, images, weights)

        return torch.cat(list(in_batches(in_batch, len(given), runtime.device))).numpy()

    patches = cell_patches(
        job.inputs.index,
        [of_cell[:NUM_PATCHES] for of_cell in examples],
        job.settings,
        job.config.layer,
        icons.shape[1],
        runtime.device,
        runtime.workers or 0,
    )
    side = icons.shape[1]
    noise = np.random.default_rng(job.config.seed).integers(0, 256, (NUM_NOISE, side, side, 3), np.uint8)
    of_icons, of_crops, of_noise = means(icons), means(crops[:NUM_OTHERS]), means(noise)
    of_patches = means(np.concatenate(patches))
    ends = np.cumsum([len(of_cell) for of_cell in patches])[:-1]

    def likeness() -> Iterator[np.ndarray]:
        for icon, of_cell in zip(of_icons, np.split(of_patches, ends), strict=True):
            yield path_likeness(np.concatenate([icon[None], of_crops]), of_cell, of_noise)

    every = np.stack(list(likeness()))
    others = [np.median(over_layers(of_cell[1:])) for of_cell in every]
    return layers, every[:, 0], np.array(others, dtype=np.float32)


def _in_unit_range(pictures: torch.Tensor) -> torch.Tensor:
    """(picture, side, side, 3) uint8 -> (picture, 3, side, side) in [0, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def _summarise(job: YardsticksJob, notes: Sequence[Notes]) -> Notes:
    # The notes describe the layer and real crops, and are equal for all tasks.
    return notes[0] if notes else {}


YARDSTICKS = Stage(
    name="yardsticks",
    version=2,
    config=YardsticksStepConfig,
    inputs=YardsticksInputs,
    unit="icons",
    split=lambda job: cell_tasks(job.inputs.bin),
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=_summarise,
    columns=(Column("row", pa.int16()), Column("col", pa.int16()), *columns_of_measures("yardsticks")),
    commands=("invert",),
)


def step(config: Config, index: Step, cells: Step, crops: Step, icons: Step) -> Step | None:
    """The path and the ground of a grid's icons; None if the config does not ask for them."""
    if not config.invert.yardsticks:
        return None
    return Step(
        stage=YARDSTICKS,
        config=YardsticksStepConfig(model=model_config(config), layer=str(cells.layer), seed=config.seed),
        inputs={"index": index, "bin": cells, "crops": crops, "invert": icons},
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
