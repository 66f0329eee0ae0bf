"""patches: make the patches: icon, crop and noise of the cells that pull hardest, icons of random cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_cache import receptive_field_of
from atlas_pipeline.numerics.crop_window import crop_window
from atlas_pipeline.patch_test.placement import noise_like, random_cells, strongest
from atlas_pipeline.pictures.png_codec import over_ground, pixels, png_of
from atlas_pipeline.tables.cell_attribution import attribution_to
from atlas_pipeline.tables.chosen_images import images_of

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("rank", pa.int16()),
        ("row", pa.int16()),
        ("col", pa.int16()),
        ("pull", pa.float32()),
        ("image_id", pa.int64()),
        ("patch", pa.binary()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesStepConfig:
    """left, right: indices of the logits. num_patches: most cells to take. size_px: side of an icon."""

    model: Mapping[str, Any]
    layer: str
    left: int
    right: int
    num_patches: int
    size_px: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchesInputs:
    """The images; the comparison's cells and icons; the icons of the layer's whole atlas as control."""

    index: Artefact
    bin: Artefact
    invert: Artefact
    whole_invert: Artefact


PatchesJob = Job[PatchesStepConfig, PatchesInputs]


def _compute(task: Task, jobs: Sequence[PatchesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    right, left = (attribution_to(job.inputs.bin, index) for index in (job.config.right, job.config.left))
    pull = right - left
    chosen = strongest(pull, job.config.num_patches)
    if not len(chosen):
        return [Output(table=SCHEMA.empty_table(), notes={"num_cells": len(pull)})]
    cells = job.inputs.bin.read(["row", "col", "examples"])
    rows, cols = (cells[name].to_numpy()[chosen] for name in ("row", "col"))
    examples = [cells["examples"][int(cell)][0].as_py() for cell in chosen]
    icons = _icons(job.inputs.invert, chosen)
    noise = [
        noise_like(icon, (job.config.seed, int(row), int(col)))
        for icon, row, col in zip(icons, rows, cols, strict=True)
    ]
    chosen_cells: dict[str, Any] = {"row": rows, "col": cols, "pull": pull[chosen]}
    tables = [
        _table("icon", icons, chosen_cells),
        _table("crop", _crops(examples, job, runtime), chosen_cells, [e["image_id"] for e in examples]),
        _table("noise", noise, chosen_cells),
        _random(job),
    ]
    runtime.advance(1)
    return [Output(table=pa.concat_tables(tables), notes={"num_cells": len(pull)})]


def _icons(icons: Artefact, chosen: np.ndarray) -> np.ndarray:
    """Icons (cell, side, side, 3) uint8 over mid grey, the ground on which the network saw them."""
    return over_ground(pixels(icons.read(["icon"])["icon"].take(pa.array(chosen))), MID_GREY)


def _random(job: PatchesJob) -> pa.Table:
    whole = job.inputs.whole_invert.read(["row", "col"])
    cells = random_cells(whole.num_rows, job.config.num_patches, job.config.seed)
    places: dict[str, Any] = {name: whole[name].to_numpy()[cells] for name in ("row", "col")}
    return _table("random", _icons(job.inputs.whole_invert, cells), places)


def _table(
    kind: str,
    patches: Sequence[np.ndarray] | np.ndarray,
    places: Mapping[str, Any],
    image_ids: Sequence[int] | None = None,
) -> pa.Table:
    num_patches = len(patches)
    columns = {
        **places,
        "kind": [kind] * num_patches,
        "rank": range(num_patches),
        "image_id": image_ids,
        "patch": [png_of(patch) for patch in patches],
    }
    arrays = [
        pa.nulls(num_patches, field.type)
        if columns.get(field.name) is None
        else pa.array(columns[field.name], field.type)
        for field in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def _crops(examples: Sequence[Mapping[str, int]], job: PatchesJob, runtime: Runtime) -> list[np.ndarray]:
    """Squares of the images around the positions; their side is an icon's, at most the receptive field's."""
    field = receptive_field_of(job.settings.model, job.config.layer, runtime.device)
    side = min(job.config.size_px, field.field_px)
    ids = [example["image_id"] for example in examples]
    images = images_of(job.inputs.index, ids, job.settings, runtime.device).permute(0, 2, 3, 1).numpy()
    crops = []
    for image, example in zip(images, examples, strict=True):
        top, left = crop_window((example["row"], example["col"]), field.map_size, side, field.image_px)
        crops.append(image[top : top + side, left : left + side])
    return crops


PATCHES = Stage(
    name="patches",
    version=1,
    config=PatchesStepConfig,
    inputs=PatchesInputs,
    unit="sets of patches",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=columns_of(SCHEMA),
    commands=("patch-test",),
)


def step(
    config: Config, left: int, right: int, index: Step, cells: Step, icons: Step, whole_icons: Step
) -> Step:
    """The patches of one comparison. left, right: logits. whole_icons: icons of the layer's whole atlas."""
    return Step(
        stage=PATCHES,
        config=PatchesStepConfig(
            model=model_config(config),
            layer=str(cells.layer),
            left=left,
            right=right,
            num_patches=config.patch_test.num_patches,
            size_px=config.invert.size_px,
            seed=config.seed,
        ),
        inputs={"index": index, "bin": cells, "invert": icons, "whole_invert": whole_icons},
        settings=run_settings(config),
        layer=cells.layer,
        view=cells.view,
        grid=cells.grid,
    )
