"""unit_ends: the icons of the units at the other ends of the strongest weights; finished icons are reused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut_before_relu
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.tables.chosen_units import unit_tasks

UNITS_PER_TASK = 32
_TABLE = pa.schema([("layer", pa.string()), ("unit", pa.int32()), ("icon", pa.binary())])


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEndsConfig:
    """invert: see `inversion.InversionSettings`."""

    model: Mapping[str, Any]
    seed: int
    invert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEndsInputs:
    """The weights of a layer's units, and the finished icons by layer."""

    weights: Artefact
    icons: Mapping[str, Artefact] = many("icons")


EndsJob = Job[UnitEndsConfig, UnitEndsInputs]


def _ends(job: EndsJob) -> list[tuple[str, int]]:
    """The other ends, by layer and unit."""
    table = job.inputs.weights.read(["other_layer", "other_unit"])
    return sorted(set(zip(table["other_layer"].to_pylist(), table["other_unit"].to_pylist(), strict=True)))


def _finished(job: EndsJob) -> dict[tuple[str, int], bytes]:
    found = {}
    for layer, icons in job.inputs.icons.items():
        table = icons.read(["unit", "kind", "icon"])
        for unit, kind, icon in zip(*(column.to_pylist() for column in table.columns), strict=True):
            if kind == "neuron":
                found[layer, unit] = icon
    return found


def _split(job: EndsJob) -> list[Task]:
    return unit_tasks(len(_ends(job)), UNITS_PER_TASK)


def _compute(task: Task, jobs: Sequence[EndsJob], runtime: Runtime) -> list[Output]:
    import torch

    from atlas_pipeline.inversion import InversionSettings, placed
    from atlas_pipeline.inversion.unit_icons import UnitIconSettings, unit_icons

    (job,) = jobs
    ends, found = _ends(job)[task["start"] : task["stop"]], _finished(job)
    settings = UnitIconSettings(
        kinds=("neuron",),
        num_diverse=0,
        diversity=0.0,
        seed=job.config.seed,
        inversion=InversionSettings(**job.config.invert),
    )
    runtime.advance(sum(end in found for end in ends))
    for layer in sorted({layer for layer, unit in ends if (layer, unit) not in found}):
        units = [unit for of_layer, unit in ends if of_layer == layer and (layer, unit) not in found]
        cut = opened_cut_before_relu(job.settings.model, layer, runtime.device)
        feature_map = placed(cut, settings.inversion.size_px, runtime.device)
        # The neuron's icon does not read the units' means and deviations.
        nothing = torch.empty(0)
        (icons,) = unit_icons(
            feature_map,
            units,
            settings,
            nothing,
            nothing,
            device=runtime.device,
            batch_size=runtime.batch_size,
            advance=runtime.advance,
        )
        pngs = pngs_of(icons.images.numpy(), torch.get_num_threads())
        found |= {(layer, unit): png for unit, png in zip(units, pngs, strict=True)}
    rows = [{"layer": layer, "unit": unit, "icon": found[layer, unit]} for layer, unit in ends]
    return [Output(table=pa.Table.from_pylist(rows, schema=_TABLE))]


UNIT_ENDS = Stage(
    name="unit_ends",
    version=1,
    config=UnitEndsConfig,
    inputs=UnitEndsInputs,
    unit="icons",
    split=_split,
    size=lambda task: task["stop"] - task["start"],
    compute=_compute,
    columns=tuple(Column(field.name, field.type) for field in _TABLE),
    uses_device=True,
    commands=("units",),
    is_checked=True,
)


def steps(
    config: Config, weights: Mapping[str, Step], icons: Mapping[str, Step]
) -> Iterator[tuple[str, Step]]:
    """The icons of the other ends of each layer's weights; none where the config asks for no icons."""
    assert config.units is not None
    makes_neurons = {"neuron", "diverse"}.intersection(config.units.icons)
    # Icons with real magnitudes need real crops, which these steps do without.
    if not config.units.icons or config.invert.image == "maco":
        return
    for layer, of_layer in weights.items():
        finished = {f"icons {one}": step for one, step in icons.items()} if makes_neurons else {}
        yield (
            layer,
            Step(
                stage=UNIT_ENDS,
                config=UnitEndsConfig(
                    model=model_config(config), seed=config.seed, invert=config.invert.of_unit_icons()
                ),
                inputs={"weights": of_layer, **finished},
                settings=run_settings(config),
                layer=layer,
            ),
        )
