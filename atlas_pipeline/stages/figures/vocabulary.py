"""vocabulary: draw the cells of each layer that a class's attribution comes from, one strip per layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.atlas_json import atlas_json
from atlas_pipeline.document.class_document import document, written
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.numerics.vocabulary import Regions, regions
from atlas_pipeline.pictures.colours import PAPER
from atlas_pipeline.pictures.figures import png_bytes, with_caption
from atlas_pipeline.pictures.png_codec import over_ground, pixels
from atlas_pipeline.pictures.vocabulary_figure import Strip, share_text, vocabulary_figure
from atlas_pipeline.tables.cell_attribution import attribution_to
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.views.class_figures import vocabularies
from atlas_pipeline.views.view import class_view_name, slug

# Regions below this fraction of the largest region's share are left out.
SMALLEST_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyStepConfig:
    """class_, label: index and label of the logit. layers: in order of depth. num_cells: icons per strip."""

    model: Mapping[str, Any]
    class_: int
    label: str
    layers: Sequence[str]
    num_cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyInputs:
    """The cells and icons of one grid of each layer, by layer."""

    bins: Mapping[str, Artefact] = many("bin")
    icons: Mapping[str, Artefact] = many("invert")


VocabularyJob = Job[VocabularyStepConfig, VocabularyInputs]


def _compute(task: Task, jobs: Sequence[VocabularyJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    found = {layer: _regions(job, layer) for layer in job.config.layers}
    shown = {layer: _num_shown(layer_regions, job.config.num_cells) for layer, layer_regions in found.items()}
    name = f"vocabulary-{slug(job.config.label)}"
    files = {
        f"{name}.png": _picture(job, found, shown),
        f"{name}.json": atlas_json(_document(job, found, shown)),
    }
    runtime.advance(len(found))
    silent = [layer for layer in found if not shown[layer]]
    return [Output(table=file_table(files), notes={"silent_layers": silent})]


def _regions(job: VocabularyJob, layer: str) -> Regions:
    artefact = job.inputs.bins[layer]
    cells = artefact.read(["row", "col", "count"])
    row, col, count = (cells[name].to_numpy() for name in ("row", "col", "count"))
    return regions(row, col, count, attribution_to(artefact, job.config.class_))


def _num_shown(found: Regions, max_cells: int) -> int:
    return int((found.share[:max_cells] >= SMALLEST_SHARE * found.share[:1].sum()).sum())


def _picture(job: VocabularyJob, found: Mapping[str, Regions], shown: Mapping[str, int]) -> bytes:
    label = job.config.label
    picture = vocabulary_figure(
        f"The vocabulary of {label}",
        "For each layer: the regions of its map that the class's attribution comes from, "
        "each as its strongest cell, with the region's share",
        [_strip(job, layer, layer_regions, shown[layer]) for layer, layer_regions in found.items()],
    )
    caption = random_weights_caption(job)
    text = {**picture_text(job), "Title": f"The vocabulary of {label}"}
    return png_bytes(with_caption(picture, caption) if caption else picture, text)


def _strip(job: VocabularyJob, layer: str, found: Regions, num_shown: int) -> Strip:
    label = job.config.label
    if not num_shown:
        why = f"no cell's mean attribution to {label} is above 0"
        return Strip(title=layer, subtitle=why, icons=np.zeros((0, 1, 1, 3), np.uint8), shares=())
    pngs = job.inputs.icons[layer].read(["icon"])["icon"]
    share = share_text(found.share[:num_shown].sum())
    return Strip(
        title=layer,
        subtitle=f"{num_shown} of {len(found.centre)} regions, {share} of what speaks for {label}",
        icons=over_ground(pixels(pngs.take(pa.array(found.centre[:num_shown]))), PAPER),
        shares=found.share[:num_shown].tolist(),
    )


def _document(job: VocabularyJob, found: Mapping[str, Regions], shown: Mapping[str, int]) -> dict[str, Any]:
    layers = [
        {
            "layer": layer,
            "grid": job.inputs.bins[layer].config["size"],
            "num_regions": len(layer_regions.share),
            "share_shown": float(layer_regions.share[: shown[layer]].sum()),
        }
        for layer, layer_regions in found.items()
    ]
    cells = [cell for layer in found for cell in _cells(job, layer, found[layer], shown[layer])]
    return document(job, layers=layers, cells=cells)


def _cells(job: VocabularyJob, layer: str, found: Regions, num_shown: int) -> list[dict[str, Any]]:
    """The cells shown for a layer, those of the largest regions first."""
    artefact, centres = job.inputs.bins[layer], found.centre[:num_shown]
    places = artefact.read(["row", "col", "count"]).take(pa.array(centres)).to_pylist()
    attribution = written(attribution_to(artefact, job.config.class_)[centres])
    return [
        {
            "layer": layer,
            **place,
            "attribution": attribution[region],
            "cell_share": float(found.cell_share[centres[region]]),
            "share": float(found.share[region]),
            "num_cells": int((found.of_cell == region).sum()),
        }
        for region, place in enumerate(places)
    ]


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    silent = artefact.notes["silent_layers"]
    return (
        [f"vocabulary of {step.config.label}: no cell speaks for it in {', '.join(silent)}"] if silent else []
    )


VOCABULARY = Stage(
    name="vocabulary",
    version=2,
    config=VocabularyStepConfig,
    inputs=VocabularyInputs,
    unit="layers",
    split=lambda job: [{"layers": len(job.config.layers)}],
    size=lambda task: task["layers"],
    compute=_compute,
    columns=FILES,
    commands=("vocabulary",),
    publishes=Publishes.FIGURE,
    remarks=_remarks,
)


def steps(config: Config, grids: Mapping[str, Step], icons: Mapping[str, Step]) -> Iterator[Step]:
    """The vocabularies that the config lists. grids, icons: cells and icons of one grid per layer, by layer.

    Raises: ModelError, ConfigError: see ``vocabularies``.
    """
    for request in vocabularies(config):
        inputs = {f"bin {layer}": grids[layer] for layer in request.layers}
        yield Step(
            stage=VOCABULARY,
            config=VocabularyStepConfig(
                model=model_config(config),
                class_=request.index,
                label=request.label,
                layers=request.layers,
                num_cells=request.num_cells,
            ),
            inputs=inputs | {f"invert {layer}": icons[layer] for layer in request.layers},
            view=class_view_name(request.label, "positive"),
        )
