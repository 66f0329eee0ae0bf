"""dream: make a DeepDream of a layer on noise or on a picture, or the layer's caricature of a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlas_pipeline.config.run_settings import model_config, model_spec
from atlas_pipeline.config.sections import Config
from atlas_pipeline.config.studies import DreamConfig
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import ConfigError, ModelError, ResourceError
from atlas_pipeline.images.decode import decode
from atlas_pipeline.images.given_pictures import FoundPictures, GivenPicture, find_pictures, picture_bytes
from atlas_pipeline.models.network_cache import opened_cut, opened_network
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.pictures.figures import png_bytes, with_caption
from atlas_pipeline.tables.files import file_table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from atlas_pipeline.inversion.dream import Goal

VIEW = "dream"
# Learning rates at strength 1. A dream of a picture takes smaller steps, so that the picture stays.
RATES = {"noise": 0.03, "dream": 0.02, "caricature": 0.05}


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamStepConfig:
    """kind: ``noise``, ``dream`` (of a picture) or ``caricature``. picture: digest of its bytes.

    number: of a dream on noise, from 1. size_px: longer side of the result. The others: see
    `inversion.dream.DreamSettings`; a tile_px of None follows from the network.
    """

    model: Mapping[str, Any]
    layer: str
    seed: int
    kind: str
    size_px: int
    octaves: int
    octave_scale: float
    steps: int
    rate: float
    picture: str | None = None
    number: int | None = None
    cosine_power: float | None = None
    tile_px: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamStepSettings:
    """How to open the network, and where the picture is. lines: remarks on the pictures given."""

    model: ModelSpec
    picture: GivenPicture | None = None
    lines: tuple[str, ...] = ()


DreamJob = Job[DreamStepConfig, Any]


def dream_seed(config: DreamStepConfig) -> int:
    """The 63-bit seed of a picture; it depends on the run's seed, the kind and the picture alone."""
    which = config.picture or config.number
    digest = hashlib.blake2b(f"{config.seed}/dream/{config.kind}/{which}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _compute(task: Task, jobs: Sequence[DreamJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.inversion import InversionSettings
    from atlas_pipeline.inversion.dream import DreamSettings, dream

    (job,) = jobs
    config = job.config
    own_px = opened_network(job.settings.model, runtime.device).preprocess.crop
    part = opened_cut(job.settings.model, config.layer, runtime.device)
    picture = _picture(job)
    settings = DreamSettings(
        octaves=config.octaves,
        octave_scale=config.octave_scale,
        tile_px=tile_px(part, own_px, config.tile_px, runtime.device),
        own_px=own_px,
        inversion=InversionSettings(steps=config.steps, learning_rate=config.rate),
    )
    with _memory_errors(settings.tile_px):
        made = dream(
            _goal(part, config),
            (config.size_px, config.size_px) if picture is None else size_of(picture, config.size_px),
            dream_seed(config),
            settings,
            picture=picture,
            from_picture=config.kind == "dream",
            device=runtime.device,
            advance=runtime.advance,
        )
    numbers = {"score_before": made.before, "score": made.after, "saturated": made.saturated}
    image, caption = made.image.numpy(), random_weights_caption(job)
    text = picture_text(job) | {"Comment": " ".join(f"{name}={value:.4g}" for name, value in numbers.items())}
    content = png_bytes(with_caption(image, caption) if caption else image, text)
    return [Output(table=file_table({_file_name(job): content}), notes=numbers)]


@contextmanager
def _memory_errors(tile_px: int) -> Iterator[None]:
    """Say in one line that a dream does not fit in memory."""
    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"a dream with tiles of {tile_px} px does not fit in memory; lower dream.tile_px or dream.size_px"
        ) from error


def _goal(part: nn.Module, config: DreamStepConfig) -> Goal:
    from atlas_pipeline.inversion.dream import Caricature, LayerSquares

    if config.kind != "caricature":
        return LayerSquares(part)
    assert config.cosine_power is not None
    return Caricature(part, config.cosine_power)


def _picture(job: DreamJob) -> Tensor | None:
    """The picture, (rows, columns, 3) uint8; its shorter side is not below the result's."""
    import torch

    given = job.settings.picture
    if given is None:
        return None
    return torch.tensor(decode(picture_bytes(given.path, given.digest), job.config.size_px))


def size_of(picture: Tensor, size_px: int) -> tuple[int, int]:
    """Rows and columns of a picture (rows, columns, 3) whose longer side becomes ``size_px``.

    >>> import torch
    >>> size_of(torch.zeros(100, 300, 3), 150)
    (50, 150)
    """
    longer = max(picture.shape[:2])
    rows, cols = (max(1, round(side * size_px / longer)) for side in picture.shape[:2])
    return rows, cols


def tile_px(part: nn.Module, own_px: int, wanted: int | None, device: str) -> int:
    """Side of the tiles: the one wanted; else twice the network's own images and 64 px if it takes those.

    Raises: ConfigError: the network does not take images of the side that is wanted.
    """
    import torch

    def refusal(side: int) -> ModelError | None:
        try:
            with torch.no_grad():
                # Tiles need not be square.
                part(torch.zeros(1, 3, min(own_px, side), side, device=device))
        except ModelError as error:
            return error
        return None

    if wanted is None:
        wide = 2 * own_px + 64
        return own_px if refusal(wide) else wide
    if wanted != own_px and refusal(wanted):
        raise ConfigError(
            f"dream.tile_px is {wanted}, and the network does not take images of that side; set it to "
            f"{own_px}, the network's own, or leave it out"
        )
    return wanted


def _file_name(job: DreamJob) -> str:
    given = job.settings.picture
    return f"{job.config.kind}-{given.name if given else job.config.number}.png"


DREAM = Stage(
    name="dream",
    version=1,
    config=DreamStepConfig,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    uses_device=True,
    commands=("dream",),
    publishes=Publishes.FIGURE,
    remarks=lambda step, artefact: step.settings.lines,
)


def steps(config: Config) -> Iterator[Step]:
    """The dreams of each layer: a step for each, so that a picture more makes that picture alone."""
    section = config.dream
    assert section is not None
    found = find_pictures(section.pictures) if section.pictures else FoundPictures(())
    for layer in section.layers or config.layers:
        for number in range(1, section.noise + 1):
            yield _step(config, section, layer, "noise", number=number)
        for picture in found.pictures:
            for kind in section.kinds:
                yield _step(config, section, layer, kind, picture=picture, lines=tuple(found.lines()))


def _step(
    config: Config,
    section: DreamConfig,
    layer: str,
    kind: str,
    *,
    number: int | None = None,
    picture: GivenPicture | None = None,
    lines: tuple[str, ...] = (),
) -> Step:
    return Step(
        stage=DREAM,
        config=DreamStepConfig(
            model=model_config(config),
            layer=layer,
            seed=config.seed,
            kind=kind,
            size_px=section.size_px,
            octaves=section.octaves,
            octave_scale=section.octave_scale,
            steps=section.steps,
            rate=RATES[kind] * section.strength,
            picture=picture.digest if picture else None,
            number=number,
            cosine_power=section.cosine_power if kind == "caricature" else None,
            tile_px=section.tile_px,
        ),
        settings=DreamStepSettings(model=model_spec(config), picture=picture, lines=lines),
        layer=layer,
        view=VIEW,
    )
