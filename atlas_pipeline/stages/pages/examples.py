"""examples: crop real image patches of each cell, and pack them in sheets for the viewer.

They are the patches nearest the cell's mean, and some from the nearest to the farthest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config, run_settings
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
from atlas_pipeline.viewer.sprites import BLOCK, NUM_CROPS, NUM_NEAREST, block_files, sheet_files, sheet_px
from atlas_pipeline.views.class_names import names_of_labels

LARGEST_CROP_PX = 56
IMAGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesStepConfig:
    """model: its preprocessing and receptive field decide what a crop shows. num: nearest patches per cell.

    labels, label_column: the source of the labels' names.
    """

    model: Mapping[str, Any]
    layer: str
    size_px: int
    num: int
    grid: int
    labels: str | None = None
    label_column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesInputs:
    """The images, the cells with the positions nearest their means, and the range of their members."""

    index: Artefact
    bin: Artefact
    members: Artefact


ExamplesJob = Job[ExamplesStepConfig, ExamplesInputs]


def _compute(task: Task, jobs: Sequence[ExamplesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    start, stop = band_of(job.inputs.bin, task["band"])
    if start == stop:
        return [Output(table=file_table({}))]
    cells = job.inputs.bin.rows(start, stop, ["row", "col", "examples"])
    rows, cols = (cells[name].to_numpy() for name in ("row", "col"))
    nearest = [of_cell[: job.config.num] for of_cell in cells["examples"].to_pylist()]
    ranges = job.inputs.members.rows(start, stop, ["members"])["members"].to_pylist()
    field = receptive_field_of(job.settings.model, job.config.layer, runtime.device)
    side = min(job.config.size_px, field.field_px)
    px = sheet_px(min(side, LARGEST_CROP_PX))
    origins = _Origins(job, [*nearest, *ranges])
    files: dict[str, bytes] = {}
    first = []
    # One strip of blocks at a time: the crops of all cells for a whole band of a fine grid are too many.
    for strip in np.unique(rows // BLOCK):
        here = np.flatnonzero(rows // BLOCK == strip)
        wanted = [_in_places(nearest[cell], ranges[cell]) for cell in here]
        crops = _crops(wanted, job, runtime, field, side, px)
        first.append(crops[:, 0])
        named = ([origins.of(of_cells[cell]) for cell in here] for of_cells in (nearest, ranges))
        files |= block_files(crops, rows[here], cols[here], *named)
    files |= sheet_files("crops", np.concatenate(first), rows, cols, px, PATCH_QUALITY)
    runtime.advance(1)
    table = file_table({f"tiles-{job.config.grid}/{name}": f for name, f in files.items()})
    return [Output(table=table, notes={"px": px})]


Example = Mapping[str, Any]


def _in_places(nearest: Sequence[Example], members: Sequence[Example]) -> list[tuple[int, Example]]:
    """The examples of a cell, each with its place among the cell's crops."""
    return [*enumerate(nearest), *enumerate(members, start=NUM_NEAREST)]


def _crops(
    examples: Sequence[Sequence[tuple[int, Example]]],
    job: ExamplesJob,
    runtime: Runtime,
    field: ReceptiveField,
    side: int,
    px: int,
) -> np.ndarray:
    """Squares around the positions: (cell, 16, px, px, 3) uint8; paper colour where an example is missing."""
    import torch
    from torch.nn.functional import interpolate

    crops = np.full((len(examples), NUM_CROPS, px, px, 3), PAPER, dtype=np.uint8)
    wanted: dict[int, list[tuple[int, int, Example]]] = {}
    for cell, of_cell in enumerate(examples):
        for place, example in of_cell:
            wanted.setdefault(example["image_id"], []).append((cell, place, example))
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
                for cell, place, example in wanted[image_id]:
                    top, left = crop_window(
                        (example["row"], example["col"]), field.map_size, side, field.image_px
                    )
                    cut = image[:, top : top + side, left : left + side].float()
                    if side != px:
                        cut = interpolate(cut[None], size=px, mode="bilinear", antialias=True)[0]
                    crops[cell, place] = cut.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return crops


class _Origins:
    """Where crops come from, for the viewer."""

    def __init__(self, job: ExamplesJob, examples: Sequence[Sequence[Example]]) -> None:
        ids = sorted({example["image_id"] for of_cell in examples for example in of_cell})
        self._keys = keys_of(job.inputs.index, set(ids))
        labels = job.inputs.index.read(["label"])["label"].take(pa.array(ids, pa.int64())).to_pylist()
        self._labels = dict(zip(ids, labels, strict=True))
        self._names = names_of_labels(job.settings, max(labels, default=-1)) or ()

    def of(self, examples: Sequence[Example]) -> list[list[Any]]:
        """Image id, row, column, the image's key and label ("" for none), and the cosine if it is known."""
        return [
            [
                example["image_id"],
                example["row"],
                example["col"],
                shown_key(self._keys[example["image_id"]]),
                self._label(self._labels[example["image_id"]]),
                *([round(example["cosine"], 4)] if "cosine" in example else []),
            ]
            for example in examples
        ]

    def _label(self, label: int) -> str:
        return "" if label < 0 else str(self._names[label]) if self._names else f"label {label}"


def _summarise(job: ExamplesJob, notes: Sequence[Notes]) -> Notes:
    # The notes are equal for all bands with cells, and empty for bands without.
    return next(filter(None, notes), {})


EXAMPLES = Stage(
    name="examples",
    version=3,
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


def steps(config: Config, index: Step, cells: Step, members: Step | None) -> Iterator[Step]:
    """The real patches of one grid; none without members, for images that must stay private."""
    if members is not None:
        yield Step(
            stage=EXAMPLES,
            config=ExamplesStepConfig(
                model=model_config(config),
                layer=str(cells.layer),
                size_px=config.invert.size_px,
                num=config.stitch.examples,
                grid=int(cells.grid or 0),
                labels=labels_digest(config),
                label_column=config.images.label_column,
            ),
            inputs={"index": index, "bin": cells, "members": members},
            settings=run_settings(config),
            layer=cells.layer,
            view=cells.view,
            grid=cells.grid,
        )
