"""tuning_patches: turn real patches that drive a family by all orientations, and read every member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.unit_state import NO_IMAGE
from atlas_pipeline.pictures.png_codec import png_of
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.tuning_table import (
    KnownFamily,
    family_tasks,
    opened_centre,
    shown_families,
    shown_layers,
    units_only,
)

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.inversion.centre_values import CentreValues

# A patch counts if a disc of this many field radii around its position lies inside the image.
REACH = 1.5
# Side of the picture of a patch, in field radii; the figure shows the disc inside it.
SHOWN_RADII = 5.0

_TABLE = pa.schema(
    [
        ("family", pa.int32()),
        ("unit", pa.int32()),
        ("image_id", pa.int64()),
        ("row", pa.int16()),
        ("col", pa.int16()),
        ("response", pa.list_(pa.float32())),
        ("patch", pa.binary()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPatchesConfig:
    """num_families, only: see `tables.tuning_table.shown_families`. num_patches: most of a family.

    has_pictures: False where images must stay private.
    """

    model: Mapping[str, Any]
    layer: str
    num_families: int
    only: Sequence[int]
    num_patches: int
    has_pictures: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPatchesInputs:
    """The images, each unit's mean and deviation and its examples, the stimuli's orientations, families."""

    index: Artefact
    spread: Artefact
    examples: Artefact
    responses: Artefact
    families: Artefact


PatchesJob = Job[TuningPatchesConfig, TuningPatchesInputs]


@dataclass(frozen=True, slots=True)
class _Patch:
    """A position of an image that drives a member of a family. point: row and column of what it looks at."""

    member: int
    image_id: int
    position: tuple[int, int]
    point: tuple[float, float]


def _shown(job: PatchesJob) -> list[KnownFamily]:
    return shown_families(job.inputs.families, job.config.num_families, job.config.only)


def _compute(task: Task, jobs: Sequence[PatchesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    shown = _shown(job)
    rows: list[dict[str, Any]] = []
    if shown:
        family = shown[task["family"]]
        centre = opened_centre(job.settings.model, job.config.layer, runtime.device)
        patches = _patches(job, family, centre, runtime.device)
        if patches:
            images = images_of(
                job.inputs.index, [patch.image_id for patch in patches], job.settings, runtime.device
            )
            for patch, image in zip(patches, images, strict=True):
                rows.append(_row(job, family, patch, image, centre, runtime))
                runtime.advance(1 / len(patches))
    return [Output(table=pa.Table.from_pylist(rows, schema=_TABLE))]


def _patches(job: PatchesJob, family: KnownFamily, centre: CentreValues, device: str) -> list[_Patch]:
    """The strongest positions of the members, those near an image's edge left out.

    Every member gives its first, then its second, and so on. Where not all can give one more, those that do
    are spread evenly over the family.
    """
    from atlas_pipeline.models.layer_samples import map_shape

    network = opened_network(job.settings.model, device)
    image_px, map_size = network.preprocess.crop, map_shape(network, job.config.layer)[1:]
    table = job.inputs.examples.read(["top_image", "top_place"])
    images, places = (column_matrix(table, name)[family.members] for name in ("top_image", "top_place"))
    middle, step = np.array(map_size) // 2, image_px / np.array(map_size)
    looked_at = np.array([centre.field.row, centre.field.col]) + centre.low
    found: list[_Patch] = []
    seen: set[tuple[int, int]] = set()
    for rank in range(images.shape[1]):
        of_rank: list[_Patch] = []
        for member in range(len(family.members)):
            image_id, place = int(images[member, rank]), int(places[member, rank])
            row, col = divmod(place, map_size[1])
            # A position looks beside its neighbour's point by a step of the map.
            point = looked_at + (np.array([row, col]) - middle) * step
            reach = REACH * centre.field.radius
            is_inside = bool((point >= reach).all() and (point <= image_px - reach).all())
            if image_id == NO_IMAGE or not is_inside or (image_id, place) in seen:
                continue
            seen.add((image_id, place))
            of_rank.append(_Patch(member, image_id, (row, col), (float(point[0]), float(point[1]))))
        left = min(len(of_rank), job.config.num_patches - len(found))
        found += [of_rank[number * len(of_rank) // left] for number in range(left)]
    return found


def _row(
    job: PatchesJob,
    family: KnownFamily,
    patch: _Patch,
    image: torch.Tensor,
    centre: CentreValues,
    runtime: Runtime,
) -> dict[str, Any]:
    import torch

    from atlas_pipeline.models.turned_images import turned_images

    num = job.inputs.responses.config["stimuli"]["num_orientations"]
    orientations = torch.arange(num, dtype=torch.float64) * (360 / num)
    # Turned so that the member's preferred orientation comes to lie at each orientation of the stimuli.
    turns = orientations - family.orientation[patch.member]
    place = (centre.field.row, centre.field.col)
    squares = turned_images(image, turns, patch.point, place, centre.side_px)
    values = centre.of_many(squares, runtime.batch_size).double().numpy()[:, family.members]
    spread = job.inputs.spread.read(["mean", "sd"])
    mean, sd = (spread[name].to_numpy()[family.members] for name in ("mean", "sd"))
    picture = None
    if job.config.has_pictures:
        side = 2 * round(SHOWN_RADII * centre.field.radius / 2)
        upright = turned_images(image, turns[:1], patch.point, (side / 2, side / 2), side)[0]
        picture = png_of((upright * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    return {
        "family": family.number,
        "unit": int(family.members[patch.member]),
        "image_id": patch.image_id,
        "row": patch.position[0],
        "col": patch.position[1],
        "response": ((values - mean) / sd).astype(np.float32).ravel(),
        "patch": picture,
    }


TUNING_PATCHES = Stage(
    name="tuning_patches",
    version=1,
    config=TuningPatchesConfig,
    inputs=TuningPatchesInputs,
    unit="families",
    split=lambda job: family_tasks(_shown(job)),
    size=lambda task: 1,
    compute=_compute,
    columns=columns_of(_TABLE),
    uses_device=True,
    commands=("tuning",),
    is_checked=True,
)


def steps(
    config: Config,
    index: Step,
    spreads: Mapping[str, Step],
    examples: Mapping[str, Step],
    responses: Mapping[str, Step],
    families: Mapping[str, Step],
) -> Iterator[tuple[str, Step]]:
    """The patches of the families that get a figure, layer by layer."""
    tuning = config.tuning
    assert tuning is not None
    for layer in shown_layers(config):
        yield (
            layer,
            Step(
                stage=TUNING_PATCHES,
                config=TuningPatchesConfig(
                    model=model_config(config),
                    layer=layer,
                    num_families=tuning.num_families,
                    only=units_only(config, layer),
                    num_patches=tuning.num_patches,
                    has_pictures=bool(config.stitch.examples),
                ),
                inputs={
                    "index": index,
                    "spread": spreads[layer],
                    "examples": examples[layer],
                    "responses": responses[layer],
                    "families": families[layer],
                },
                settings=run_settings(config),
                layer=layer,
            ),
        )
