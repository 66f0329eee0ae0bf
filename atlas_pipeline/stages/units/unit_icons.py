"""unit_icons: make the icons of each unit, for and against, at one position and over the map, and diverse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut_before_relu
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.pictures.real_magnitude import real_magnitude
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of, unit_tasks

if TYPE_CHECKING:
    pass

UNITS_PER_TASK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIconsConfig:
    """units: empty for all. kinds, num_diverse, diversity: see `inversion.unit_icons`.

    invert: see `inversion.InversionSettings`, with the settings of directions at their defaults.
    """

    model: Mapping[str, Any]
    layer: str
    seed: int
    units: Sequence[int]
    kinds: Sequence[str]
    invert: Mapping[str, Any]
    num_diverse: int | None = None
    diversity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIconsInputs:
    """The mean and deviation of each unit. crops: real crops, only for icons with real magnitudes (maco)."""

    spread: Artefact
    crops: Artefact | None = None


IconsJob = Job[UnitIconsConfig, UnitIconsInputs]


def _split(job: IconsJob) -> list[Task]:
    return unit_tasks(len(numbers_of(job.config.units, job.inputs.spread.num_rows)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[IconsJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, placed
    from atlas_pipeline.inversion.unit_icons import UnitIconSettings, unit_icons

    (job,) = jobs
    config = job.config
    units = numbers_of(config.units, job.inputs.spread.num_rows)[task["start"] : task["stop"]]
    inversion = InversionSettings(**config.invert)
    spread = job.inputs.spread.read(["mean", "sd"])
    num_kinds = _num_kinds(config)
    cut = opened_cut_before_relu(job.settings.model, config.layer, runtime.device)
    made = list(
        unit_icons(
            placed(cut, inversion.size_px, runtime.device),
            units,
            UnitIconSettings(
                kinds=config.kinds,
                num_diverse=config.num_diverse or 0,
                diversity=config.diversity or 0.0,
                seed=config.seed,
                inversion=inversion,
            ),
            torch.tensor(spread["mean"].to_numpy()),
            torch.tensor(spread["sd"].to_numpy()),
            magnitude=real_magnitude(job.inputs.crops, inversion),
            device=runtime.device,
            batch_size=runtime.batch_size,
            advance=lambda icons: runtime.advance(icons / num_kinds),
        )
    )
    threads = torch.get_num_threads()
    table = pa.table(
        {
            "unit": pa.array(np.tile(np.array(units, np.int32), len(made))),
            "kind": pa.array([icons.kind for icons in made for _ in units]),
            "icon": pa.array(
                [png for icons in made for png in pngs_of(icons.images.numpy(), threads)], pa.binary()
            ),
            "value": pa.array(np.concatenate([icons.values.numpy() for icons in made]), pa.float32()),
        }
    )
    return [Output(table=table)]


def _num_kinds(config: UnitIconsConfig) -> int:
    is_diverse = "diverse" in config.kinds
    single = {kind for kind in config.kinds if kind != "diverse"} | ({"neuron"} if is_diverse else set())
    return len(single) + (config.num_diverse or 0) * is_diverse


UNIT_ICONS = Stage(
    name="unit_icons",
    version=1,
    config=UnitIconsConfig,
    inputs=UnitIconsInputs,
    unit="units",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=(
        Column("unit", pa.int32()),
        Column("kind", pa.string()),
        Column("icon", pa.binary()),
        Column("value", pa.float32()),
    ),
    uses_device=True,
    commands=("units",),
    is_checked=True,
)


def steps(config: Config, spreads: Mapping[str, Step], crops: Step) -> Iterator[tuple[str, Step]]:
    """The icons of each layer's units; none where the config asks for no icons."""
    units = config.units
    assert units is not None
    is_diverse = "diverse" in units.icons
    for layer, spread in spreads.items() if units.icons else ():
        yield (
            layer,
            Step(
                stage=UNIT_ICONS,
                config=UnitIconsConfig(
                    model=model_config(config),
                    layer=layer,
                    seed=config.seed,
                    units=chosen_units(config, layer),
                    kinds=units.icons,
                    invert=config.invert.of_unit_icons(),
                    num_diverse=units.num_diverse if is_diverse else None,
                    diversity=units.diversity if is_diverse else None,
                ),
                inputs={"spread": spread, **({"crops": crops} if config.invert.image == "maco" else {})},
                settings=run_settings(config),
                layer=layer,
            ),
        )
