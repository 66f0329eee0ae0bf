"""A synthetic atlas of any size for `stitch.py`, as the stages before `stitch` would write it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from atlas_pipeline.config.loading import parse_config
from atlas_pipeline.engine import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images.index_table import index_schema
from atlas_pipeline.stages.atlas import stitch
from atlas_pipeline.stages.pages import deep_zoom, tiles
from atlas_pipeline.tables.columns import EXAMPLE_TYPE, matrix_column
from atlas_pipeline.views.view import layer_view

NUM_IMAGES, NUM_PICTURES, NUM_EXAMPLES, CHANNELS = 1_000_000, 4096, 9, 512
CELLS_PER_PART = 128


@dataclass(frozen=True, slots=True)
class Case:
    """Size and format of the atlas. num_threads: threads that encode images."""

    grid: int
    icon_px: int
    num_classes: int
    tile_format: str
    num_threads: int


def _indexed(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    ids = np.arange(NUM_IMAGES)
    columns = {
        "image_id": ids,
        "key": [f"n{n % 1000:08d}/n{n % 1000:08d}_{n}.JPEG" for n in ids],
        "label": ids % 1000,
        "file": [""] * NUM_IMAGES,
        "row": ids,
        "digest": [""] * NUM_IMAGES,
    }
    return [Output(table=pa.table(columns).cast(index_schema()))]


def _laid_out(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    return [Output(table=pa.table({"image_id": np.arange(NUM_IMAGES)}), notes={"quality": {}})]


def _binned(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    """Make a cell for every row and column of the grid, as `bin` writes them."""
    grid, num_classes = jobs[0].config["grid"], jobs[0].config["num_classes"]
    rng, num_cells = np.random.default_rng(0), grid**2
    places = [pa.array(rng.integers(0, NUM_IMAGES, num_cells * NUM_EXAMPLES))]
    places += [pa.array(np.ones(num_cells * NUM_EXAMPLES, np.int16))] * 2
    offsets = np.arange(0, num_cells * NUM_EXAMPLES + 1, NUM_EXAMPLES, dtype=np.int32)
    examples = pa.StructArray.from_arrays(places, fields=list(EXAMPLE_TYPE))
    row, col = np.divmod(np.arange(num_cells), grid)
    table = {
        "row": pa.array(row.astype(np.int16)),
        "col": pa.array(col.astype(np.int16)),
        "count": pa.array(rng.integers(4, 16, num_cells).astype(np.int32)),
        "activation": matrix_column(rng.random((num_cells, CHANNELS), np.float32)),
        "coherence": pa.array(rng.random(num_cells, np.float32)),
        "nearest": pa.array(rng.random(num_cells, np.float32)),
        "consistency": pa.array(rng.random(num_cells, np.float32)),
        "examples": pa.ListArray.from_arrays(pa.array(offsets), examples),
        "attribution": matrix_column(rng.standard_normal((num_cells, num_classes), np.float32)),
    }
    notes = {"classes": [*range(num_classes)], "num_classes": num_classes}
    binned = int(pc.sum(table["count"]).as_py())
    return [
        Output(table=pa.table(table), notes={**notes, "num_activations": NUM_IMAGES, "num_binned": binned})
    ]


def _inverted(task: Task, jobs: Sequence[Job], runtime: Runtime) -> list[Output]:
    rng, num_cells = np.random.default_rng(task["start"]), task["stop"] - task["start"]
    pictures = _pictures(jobs[0].config["icon_px"])
    numbers = (
        "fidelity",
        "fidelity_whitened",
        "noise",
        "saturated",
        "spectrum_distance",
        "colour_distance",
    )
    table = {
        "icon": pa.array([pictures[n] for n in rng.integers(0, len(pictures), num_cells)], pa.binary()),
        "round_trip": pa.array(np.zeros(num_cells, np.int32)),
        **{name: pa.array(rng.random(num_cells, np.float32)) for name in numbers},
    }
    return [Output(table=pa.table(table), notes={"real_crops": {}})]


@cache
def _pictures(side: int) -> list[bytes]:
    """PNGs of noise with the falling spectrum of icons and independent colour channels."""
    rng, frequency = np.random.default_rng(7), np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side)]))
    falloff = 1 / np.maximum(frequency, 1 / side) ** 1.5
    files = []
    for _ in range(NUM_PICTURES):
        noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal((3, side, side))) * falloff).real
        shown = 1 / (1 + np.exp(-noise / noise.std()))
        file = io.BytesIO()
        Image.fromarray((shown * 255).astype(np.uint8).transpose(1, 2, 0).copy()).save(file, "PNG")
        files.append(file.getvalue())
    return files


def _first(job: Job, notes: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return notes[0]


def _parts(job: Job) -> list[Task]:
    num_cells = job.config["grid"] ** 2
    return [
        {"start": s, "stop": min(s + CELLS_PER_PART, num_cells)} for s in range(0, num_cells, CELLS_PER_PART)
    ]


def _fake(name: str, compute: Any, split: Any = lambda job: [{}]) -> Stage:
    return Stage(
        name=name,
        version=1,
        unit="rows",
        split=split,
        size=lambda task: 1,
        compute=compute,
        summarise=_first,
    )


INDEX, PROJECT, BIN = _fake("index", _indexed), _fake("project", _laid_out), _fake("bin", _binned)
INVERT = _fake("invert", _inverted, _parts)


def config_of(folder: Path, case: Case) -> dict[str, Any]:
    """Config of a run of the case; the folder is its workspace."""
    return {
        "name": "stitching",
        "model": {"source": "demo", "labels": str(folder / "labels.txt")},
        "images": {"source": "generated", "num_images": NUM_IMAGES},
        "layers": ["mixed4"],
        "grid": {"sizes": [case.grid]},
        "invert": {"size_px": case.icon_px},
        "stitch": {"deep_zoom": True, "deep_zoom_format": case.tile_format},
        "run": {"workspace": str(folder)},
    }


def steps_of(folder: Path, case: Case) -> list[Step]:
    """Steps of `stitch`, `tiles` and `deep_zoom`, and of their inputs."""
    config = parse_config(config_of(folder, case))
    labels = {"layer": "mixed4", "view": "all", "grid": case.grid}
    index, layout = Step(stage=INDEX, config={}), Step(stage=PROJECT, config={})
    sizes = {"grid": case.grid, "num_classes": case.num_classes, "icon_px": case.icon_px}
    cells = Step(stage=BIN, config=sizes, **labels)
    icons = Step(stage=INVERT, config=sizes, **labels)
    atlas = stitch.step(config, layer_view(config), index, None, layout, cells, icons, {})
    return [
        index,
        layout,
        cells,
        icons,
        atlas,
        tiles.step(config, cells, icons, {}),
        *deep_zoom.steps(config, atlas),
    ]
