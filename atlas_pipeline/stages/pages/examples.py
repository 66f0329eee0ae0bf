"""examples: crop the real image patches nearest each cell's mean, and pack them in sheets for the viewer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, ViewerFacts
from atlas_pipeline.engine.stage import Artefact, Job, Notes, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import ReceptiveField, receptive_field_of
from atlas_pipeline.numerics.crop_window import crop_window
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.tables.chosen_images import batches_of
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.image_keys import keys_of, shown_key
from atlas_pipeline.viewer.bands import band_of, num_bands
from atlas_pipeline.viewer.scripts import PATCH_QUALITY
from atlas_pipeline.viewer.sprites import BLOCK, NUM_CROPS, block_files, sheet_files, sheet_px

LARGEST_CROP_PX = 56
IMAGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesStepConfig:
    """model: its preprocessing and receptive field decide what a crop shows. num: patches per cell."""

    model: Mapping[str, Any]
    layer: str
    size_px: int
    num: int
    grid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesInputs:
    """The images, and the cells with the spatial positions nearest their means."""

    index: Artefact
    bin: Artefact


ExamplesJob = Job[ExamplesStepConfig, ExamplesInputs]


def _compute(task: Task, jobs: Sequence[ExamplesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    start, stop = band_of(job.inputs.bin, task["band"])
    if start == stop:
        return [Output(table=file_table({}))]
    cells = job.inputs.bin.rows(start, stop, ["row", "col", "examples"])
    rows, cols = (cells[name].to_numpy() for name in ("row", "col"))
    examples = [of_cell[: job.config.num] for of_cell in cells["examples"].to_pylist()]
    field = receptive_field_of(job.settings.model, job.config.layer, runtime.device)
    side = min(job.config.size_px, field.field_px)
    px = sheet_px(min(side, LARGEST_CROP_PX))
    files: dict[str, bytes] = {}
    nearest = []
    # One strip of blocks at a time: nine crops per cell for a whole band of a fine grid are too many.
    for strip in np.unique(rows // BLOCK):
        here = np.flatnonzero(rows // BLOCK == strip)
        crops = _crops([examples[cell] for cell in here], job, runtime, field, side, px)
        nearest.append(crops[:, 0])
        named = _named([examples[cell] for cell in here], job)
        files |= block_files(crops, rows[here], cols[here], named)
    files |= sheet_files("crops", np.concatenate(nearest), rows, cols, px, PATCH_QUALITY)
    runtime.advance(1)
    table = file_table({f"tiles-{job.config.grid}/{name}": f for name, f in files.items()})
    return [Output(table=table, notes={"px": px})]


Example = Mapping[str, Any]


def _crops(
    examples: Sequence[Sequence[Example]],
    job: ExamplesJob,
    runtime: Runtime,
    field: ReceptiveField,
    side: int,
    px: int,
) -> np.ndarray:
    """Squares around the positions: (cell, 9, px, px, 3) uint8; paper colour where an example is missing."""
    import torch
    from torch.nn.functional import interpolate

    crops = np.full((len(examples), NUM_CROPS, px, px, 3), PAPER, dtype=np.uint8)
    wanted: dict[int, list[tuple[int, int, Example]]] = {}
    for cell, of_cell in enumerate(examples):
        for rank, example in enumerate(of_cell):
            wanted.setdefault(example["image_id"], []).append((cell, rank, example))
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
                for cell, rank, example in wanted[image_id]:
                    top, left = crop_window(
                        (example["row"], example["col"]), field.map_size, side, field.image_px
                    )
                    cut = image[:, top : top + side, left : left + side].float()
                    if side != px:
                        cut = interpolate(cut[None], size=px, mode="bilinear", antialias=True)[0]
                    crops[cell, rank] = cut.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return crops


def _named(examples: Sequence[Sequence[Example]], job: ExamplesJob) -> list[list[list[Any]]]:
    """For each example of each cell: image id, row, col, and the image's key."""
    keys = keys_of(job.inputs.index, {e["image_id"] for of_cell in examples for e in of_cell})
    return [
        [[e["image_id"], e["row"], e["col"], shown_key(keys[e["image_id"]])] for e in of_cell]
        for of_cell in examples
    ]


def _summarise(job: ExamplesJob, notes: Sequence[Notes]) -> Notes:
    # The notes are equal for all bands with cells, and empty for bands without.
    return next(filter(None, notes), {})


EXAMPLES = Stage(
    name="examples",
    version=1,
    config=ExamplesStepConfig,
    inputs=ExamplesInputs,
    unit="bands",
    split=lambda job: [{"band": band} for band in range(num_bands(job.config.grid))],
    size=lambda task: 1,
    compute=_compute,
    summarise=_summarise,
    columns=FILES,
    commands=("stitch",),
    publishes=Publishes.VIEWER,
    viewer=lambda artefact: ViewerFacts(grid={"crop_px": artefact.notes.get("px", 0)}),
)


def steps(config: Config, index: Step, cells: Step) -> Iterator[Step]:
    """The real patches of one grid; none if ``stitch.examples`` is 0, for images that must stay private."""
    if config.stitch.examples:
        yield Step(
            stage=EXAMPLES,
            config=ExamplesStepConfig(
                model=model_config(config),
                layer=str(cells.layer),
                size_px=config.invert.size_px,
                num=config.stitch.examples,
                grid=int(cells.grid or 0),
            ),
            inputs={"index": index, "bin": cells},
            settings=run_settings(config),
            layer=cells.layer,
            view=cells.view,
            grid=cells.grid,
        )
