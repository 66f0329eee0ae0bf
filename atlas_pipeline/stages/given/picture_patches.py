"""picture_patches: real patches of the cells of the atlas on which a picture's positions lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.tables.cell_patches import cell_patches
from atlas_pipeline.viewer.picture_files import ICON_PX
from atlas_pipeline.viewer.scripts import PATCH_QUALITY, webp

NUM_PATCHES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePatchesConfig:
    """size_px: side of the icons, which the patches share. num: patches of a cell."""

    model: Mapping[str, Any]
    layer: str
    size_px: int
    num: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePatchesInputs:
    """The images, the atlas's cells, and the cells of the picture's positions."""

    index: Artefact
    bin: Artefact
    cells: Artefact


def _compute(
    task: Task, jobs: Sequence[Job[PicturePatchesConfig, PicturePatchesInputs]], runtime: Runtime
) -> list[Output]:
    (job,) = jobs
    config, found = job.config, job.inputs.cells.read(["cell"])["cell"].to_numpy()
    cells = np.unique(found[found >= 0])
    examples = job.inputs.bin.read(["examples"])["examples"].take(pa.array(cells)).to_pylist()
    patches = cell_patches(
        job.inputs.index,
        [of_cell[: config.num] for of_cell in examples],
        job.settings,
        config.layer,
        config.size_px,
        runtime.device,
        runtime.workers or 0,
    )
    runtime.advance(1)
    strips = [
        webp(np.concatenate([resized(one, ICON_PX) for one in some], axis=1), PATCH_QUALITY)
        for some in patches
    ]
    return [
        Output(table=pa.table({"cell": pa.array(cells, pa.int32()), "strip": pa.array(strips, pa.binary())}))
    ]


PICTURE_PATCHES = Stage(
    name="picture_patches",
    version=1,
    config=PicturePatchesConfig,
    inputs=PicturePatchesInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(Column("cell", pa.int32()), Column("strip", pa.binary())),
    uses_device=True,
    commands=("image",),
)


def steps(config: Config, index: Step, cells: Step, places: Step) -> Iterator[Step]:
    """The patches for one picture in one layer; none where images must stay private (``stitch.examples: 0``).

    Args: cells: of the atlas. places: the step of ``picture_cells``.
    """
    if config.stitch.examples:
        yield Step(
            stage=PICTURE_PATCHES,
            config=PicturePatchesConfig(
                model=model_config(config),
                layer=str(places.layer),
                size_px=config.invert.size_px,
                num=min(NUM_PATCHES, config.stitch.examples),
            ),
            inputs={"index": index, "bin": cells, "cells": places},
            settings=run_settings(config),
            layer=places.layer,
            view=places.view,
        )
