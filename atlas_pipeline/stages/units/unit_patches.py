"""unit_patches: cut the examples of each unit out of the images, with the position marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, Vector
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import receptive_field_of
from atlas_pipeline.numerics.crop_window import crop_window
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of, unit_tasks
from atlas_pipeline.tables.columns import column_matrix, matrix_column
from atlas_pipeline.viewer.scripts import PATCH_QUALITY, webp
from atlas_pipeline.viewer.unit_files import SHEET_COLUMNS

UNITS_PER_TASK = 16
IMAGES_AT_ONCE = 256
LARGEST_PATCH_PX = 72


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPatchesConfig:
    """model: its preprocessing and receptive field decide what a patch shows. units: empty for all.

    size_px: largest side of a patch in the image. A patch is never larger than the receptive field.
    """

    model: Mapping[str, Any]
    layer: str
    units: Sequence[int]
    size_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPatchesInputs:
    """The images, and the examples of each unit."""

    index: Artefact
    examples: Artefact


PatchesJob = Job[UnitPatchesConfig, UnitPatchesInputs]


def _split(job: PatchesJob) -> list[Task]:
    return unit_tasks(len(numbers_of(job.config.units, job.inputs.examples.num_rows)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[PatchesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    units = numbers_of(job.config.units, job.inputs.examples.num_rows)[task["start"] : task["stop"]]
    columns = ["top_image", "top_place", "range_image", "range_place"]
    table = job.inputs.examples.read(columns).take(pa.array(units, pa.int64()))
    # The examples of a unit in the order of its page: the top, then the ranges from the lowest.
    images, places = (
        np.concatenate([column_matrix(table, f"{kind}_{what}") for kind in ("top", "range")], axis=1)
        for what in ("image", "place")
    )
    field = receptive_field_of(job.settings.model, job.config.layer, runtime.device)
    side = min(job.config.size_px, field.field_px)
    px = min(side, LARGEST_PATCH_PX)
    px += px % 2
    patches = np.full((*images.shape, px, px, 3), PAPER, np.uint8)
    marks = np.zeros((*images.shape, 2), np.float32)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for unit, slot in zip(*np.nonzero(images >= 0), strict=True):
        wanted.setdefault(int(images[unit, slot]), []).append((unit, slot))
    batches = batches_of(
        job.inputs.index,
        list(wanted),
        job.settings,
        runtime.device,
        batch_size=IMAGES_AT_ONCE,
        num_workers=runtime.workers or 0,
    )
    with closing(batches):
        for batch in batches:
            for image_id, image in zip(batch.image_id.tolist(), batch.images, strict=True):
                for unit, slot in wanted[image_id]:
                    position = divmod(int(places[unit, slot]), field.map_size[1])
                    top, left = crop_window(position, field.map_size, side, field.image_px)
                    patches[unit, slot] = _cut(image[:, top : top + side, left : left + side], px)
                    centre = (np.array(position) + 0.5) / field.map_size * field.image_px
                    marks[unit, slot] = (centre - (top, left)) / side
    runtime.advance(len(units))
    sheets = [webp(_sheet(of_unit), PATCH_QUALITY) for of_unit in patches]
    columns_made = {
        "unit": pa.array(units, pa.int32()),
        "sheet": pa.array(sheets, pa.binary()),
        "marks": matrix_column(marks.reshape(len(units), -1)),
    }
    return [Output(table=pa.table(columns_made), notes={"px": px, "side_px": side})]


def _cut(square: Any, px: int) -> np.ndarray:
    """A square of an image, (3, side, side) uint8 tensor, as (px, px, 3) uint8."""
    from torch.nn.functional import interpolate

    cut = square.float()
    if cut.shape[-1] != px:
        cut = interpolate(cut[None], size=px, mode="bilinear", antialias=True)[0]
    return cut.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def _sheet(patches: np.ndarray) -> np.ndarray:
    """(patch, px, px, 3) -> one picture, `SHEET_COLUMNS` patches a row."""
    num, px = patches.shape[:2]
    rows = -(-num // SHEET_COLUMNS)
    sheet = np.full((rows * SHEET_COLUMNS, px, px, 3), PAPER, np.uint8)
    sheet[:num] = patches
    grid = sheet.reshape(rows, SHEET_COLUMNS, px, px, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * px, SHEET_COLUMNS * px, 3)


UNIT_PATCHES = Stage(
    name="unit_patches",
    version=1,
    config=UnitPatchesConfig,
    inputs=UnitPatchesInputs,
    unit="units",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    summarise=lambda job, notes: next(iter(notes), {}),
    columns=(
        Column("unit", pa.int32()),
        Column("sheet", pa.binary()),
        Column("marks", Vector((pa.float32(),), "example")),
    ),
    commands=("units",),
)


def steps(config: Config, index: Step, examples: Mapping[str, Step]) -> Iterator[tuple[str, Step]]:
    """The patches of each layer's units; none where images must stay private (``stitch.examples: 0``)."""
    for layer, of_layer in examples.items() if config.stitch.examples else ():
        yield (
            layer,
            Step(
                stage=UNIT_PATCHES,
                config=UnitPatchesConfig(
                    model=model_config(config),
                    layer=layer,
                    units=chosen_units(config, layer),
                    size_px=config.invert.size_px,
                ),
                inputs={"index": index, "examples": of_layer},
                settings=run_settings(config),
                layer=layer,
            ),
        )
