"""picture_icons: make the icons of a picture's neuron groups and of its strongest positions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.pictures.real_magnitude import real_magnitude
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.given_settings import GivenSettings, given_map

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureIconsConfig:
    """picture: sha256 of the file's bytes, from which the icons' seeds are drawn.

    num_positions: strongest positions with an icon. invert: see `inversion.InversionSettings`.
    """

    model: Mapping[str, Any]
    layer: str
    picture: str
    seed: int
    num_positions: int
    invert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureIconsInputs:
    """The picture's activations and groups; precision and real crops where the icons' settings need them."""

    map: Artefact
    groups: Artefact
    whiten: Artefact | None = None
    crops: Artefact | None = None


IconsJob = Job[PictureIconsConfig, PictureIconsInputs]


def icon_seed(seed: int, picture: str, kind: str, number: int) -> int:
    """The 63-bit seed of an icon; it depends on the run's seed, the picture and the icon alone."""
    digest = hashlib.blake2b(f"{seed}/{picture}/{kind}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _wanted(job: IconsJob) -> tuple[list[tuple[str, int]], np.ndarray]:
    """Kind and number of each icon, and its direction (icon, channel)."""
    activations = given_map(job.inputs.map).activations
    groups = column_matrix(job.inputs.groups.read(["direction"]), "direction")
    lengths = np.linalg.norm(activations, axis=1)
    strongest = np.argsort(-lengths, kind="stable")[: job.config.num_positions]
    strongest = strongest[lengths[strongest] > 0]
    kinds = [("group", number) for number in range(len(groups))]
    kinds += [("position", int(one)) for one in strongest]
    return kinds, np.concatenate([groups, activations[strongest]]).astype(np.float32)


def _compute(task: Task, jobs: Sequence[IconsJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, invert
    from atlas_pipeline.inversion.placement import placed

    (job,) = jobs
    config, settings = job.config, InversionSettings(**job.config.invert)
    kinds, directions = _wanted(job)
    cut = opened_cut(job.settings.model, config.layer, runtime.device)
    icons = invert(
        placed(cut, settings.size_px, runtime.device),
        torch.tensor(directions),
        [icon_seed(config.seed, config.picture, kind, number) for kind, number in kinds],
        settings,
        precision=_precision(job),
        magnitude=real_magnitude(job.inputs.crops, settings),
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=lambda num: runtime.advance(num / max(1, len(kinds))),
    )
    table = pa.table(
        {
            "kind": pa.array([kind for kind, _ in kinds], pa.string()),
            "number": pa.array([number for _, number in kinds], pa.int32()),
            "icon": pa.array(pngs_of(icons.images.numpy(), torch.get_num_threads()), pa.binary()),
            "fidelity": pa.array(icons.fidelity.numpy()),
        }
    )
    return [Output(table=table)]


def _precision(job: IconsJob) -> torch.Tensor | None:
    import torch

    if job.inputs.whiten is None:
        return None
    return torch.tensor(column_matrix(job.inputs.whiten.read(["precision"]), "precision"))


PICTURE_ICONS = Stage(
    name="picture_icons",
    version=1,
    config=PictureIconsConfig,
    inputs=PictureIconsInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=(
        Column("kind", pa.string()),
        Column("number", pa.int32()),
        Column("icon", pa.binary()),
        Column("fidelity", pa.float32()),
    ),
    uses_device=True,
    commands=("image",),
    is_checked=True,
)


def step(
    config: Config, activations: Step, groups: Step, precision: Step, crops: Step, settings: GivenSettings
) -> Step:
    """The icons of one picture in one layer."""
    inputs = {"map": activations, "groups": groups}
    if config.invert.whitening:
        inputs["whiten"] = precision
    if config.invert.image == "maco":
        inputs["crops"] = crops
    return Step(
        stage=PICTURE_ICONS,
        config=PictureIconsConfig(
            model=model_config(config),
            layer=str(activations.layer),
            picture=settings.picture.digest,
            seed=config.seed,
            num_positions=config.image.position_icons,
            # Nothing here starts from another icon.
            invert={**config.invert.of_icons(), "warm_steps": None},
        ),
        inputs=inputs,
        settings=settings,
        layer=activations.layer,
        view=activations.view,
    )
