"""tuning_icons: make an icon of each member that a family's figure shows, and one of its inputs.

A member's inputs are its attribution to the layer before, at the real patch that drives it: the weights W
times the activations h there. The icon shows |W h| as a pattern of that layer, position by position.
Source: Cammarata et al., "Curve Detectors" (Distill 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_cut, opened_cut_before_relu, opened_network
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.pictures.real_magnitude import real_magnitude
from atlas_pipeline.tables.chosen_images import images_of
from atlas_pipeline.tables.tuning_table import (
    KnownFamily,
    Patch,
    family_tasks,
    first_patches,
    shown_families,
    shown_layers,
    shown_members,
    units_only,
)

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network

# Units of the layer before that are named as the strongest inputs of a member.
NUM_INPUTS = 5

_TABLE = pa.schema(
    [
        ("family", pa.int32()),
        ("unit", pa.int32()),
        ("icon", pa.binary()),
        ("inputs_icon", pa.binary()),
        ("input_units", pa.list_(pa.int32())),
        ("input_shares", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningIconsConfig:
    """num_families, only: see `tables.tuning_table.shown_families`. invert: see `unit_icons`.

    has_inputs: False where images must stay private: an icon of inputs looks much like its patch.
    """

    model: Mapping[str, Any]
    layer: str
    seed: int
    num_families: int
    only: Sequence[int]
    maxpool_gradient: Literal["exact", "smooth"]
    has_inputs: bool
    invert: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningIconsInputs:
    """The images, families and their patches, and each unit's mean and deviation. crops: see `unit_icons`."""

    index: Artefact
    spread: Artefact
    families: Artefact
    patches: Artefact
    crops: Artefact | None = None


IconsJob = Job[TuningIconsConfig, TuningIconsInputs]


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """The inputs of one member. pattern: (K, side, side), |W h| around its position. icon: PNG.

    units, shares: the strongest units, and their shares of the pattern's sum.
    """

    pattern: torch.Tensor
    units: list[int]
    shares: list[float]
    icon: bytes | None = None


def _shown(job: IconsJob) -> list[KnownFamily]:
    return shown_families(job.inputs.families, job.config.num_families, job.config.only)


def _compute(task: Task, jobs: Sequence[IconsJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.models.expanded_weights import layers_beside

    (job,) = jobs
    shown = _shown(job)
    network = opened_network(job.settings.model, runtime.device)
    before, _ = layers_beside(network, job.config.layer)
    earlier = before if job.config.has_inputs else None
    notes = {"earlier": earlier}
    if not shown:
        return [Output(table=_TABLE.empty_table(), notes=notes)]
    family = shown[task["family"]]
    first = first_patches(job.inputs.patches, family)
    members = shown_members(family, first)
    units = family.members[members].tolist()
    icons = _own_icons(job, units, runtime)
    inputs: dict[int, _Inputs] = {}
    if earlier is not None:
        driving = {int(family.members[member]): first[member] for member in members if member in first}
        inputs = _inputs(job, network, earlier, driving, runtime)
    rows = [
        {
            "family": family.number,
            "unit": unit,
            "icon": icon,
            "inputs_icon": inputs[unit].icon if unit in inputs else None,
            "input_units": inputs[unit].units if unit in inputs else [],
            "input_shares": inputs[unit].shares if unit in inputs else [],
        }
        for unit, icon in zip(units, icons, strict=True)
    ]
    return [Output(table=pa.Table.from_pylist(rows, schema=_TABLE), notes=notes)]


def _own_icons(job: IconsJob, units: Sequence[int], runtime: Runtime) -> list[bytes]:
    """The icon of each unit at its map's centre, as PNG: that of `atlas units`."""
    import torch

    from atlas_pipeline.inversion import InversionSettings, placed
    from atlas_pipeline.inversion.unit_icons import UnitIconSettings, unit_icons

    config = job.config
    inversion = InversionSettings(**config.invert)
    cut = opened_cut_before_relu(job.settings.model, config.layer, runtime.device)
    spread = job.inputs.spread.read(["mean", "sd"])
    (made,) = unit_icons(
        placed(cut, inversion.size_px, runtime.device),
        units,
        UnitIconSettings(
            kinds=("neuron",), num_diverse=0, diversity=0.0, seed=config.seed, inversion=inversion
        ),
        torch.tensor(spread["mean"].to_numpy()),
        torch.tensor(spread["sd"].to_numpy()),
        magnitude=real_magnitude(job.inputs.crops, inversion),
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=lambda icons: runtime.advance(icons / len(units) / 2),
    )
    return pngs_of(made.images.numpy(), torch.get_num_threads())


def _inputs(
    job: IconsJob, network: Network, earlier: str, driving: Mapping[int, Patch], runtime: Runtime
) -> dict[int, _Inputs]:
    """The inputs of units by their number. driving: the patch that drives each unit."""
    import torch

    from atlas_pipeline.inversion import InversionSettings, Pattern, optimise, placed
    from atlas_pipeline.inversion.pattern import fitted_patterns
    from atlas_pipeline.inversion.unit_icons import unit_icon_seed

    found, config = _attributed(job, network, earlier, driving, runtime), job.config
    if not found:
        return {}
    inversion = InversionSettings(**config.invert)
    cut = placed(opened_cut(job.settings.model, earlier, runtime.device), inversion.size_px, runtime.device)
    with torch.no_grad():
        blank = torch.zeros(1, 3, inversion.size_px, inversion.size_px, device=runtime.device)
        room = min(cut(blank).shape[-2:])
    patterns = fitted_patterns([one.pattern for one in found.values()], room)
    made = optimise(
        Pattern(cut, patterns, power=inversion.cosine_power, device=runtime.device),
        [unit_icon_seed(config.seed, unit, "inputs") for unit in found],
        inversion,
        magnitude=real_magnitude(job.inputs.crops, inversion),
        device=runtime.device,
        batch_size=runtime.batch_size,
        advance=lambda icons: runtime.advance(icons / len(found) / 2),
    )
    pngs = pngs_of(made.images.numpy(), torch.get_num_threads())
    return {unit: replace(one, icon=png) for (unit, one), png in zip(found.items(), pngs, strict=True)}


def _attributed(
    job: IconsJob, network: Network, earlier: str, driving: Mapping[int, Patch], runtime: Runtime
) -> dict[int, _Inputs]:
    """The inputs without their icons. A unit that nothing before it drives is left out."""
    import torch

    from atlas_pipeline.inversion.pattern import pattern_around
    from atlas_pipeline.models.layer_samples import map_shape
    from atlas_pipeline.models.map_attribution import unit_inputs

    config, later_size = job.config, np.array(map_shape(network, job.config.layer)[1:])
    images = images_of(
        job.inputs.index, [patch.image_id for patch in driving.values()], job.settings, runtime.device
    )
    found = {}
    for (unit, patch), image in zip(driving.items(), images, strict=True):
        position = torch.tensor([patch.position])
        amounts = unit_inputs(
            network,
            image[None].to(network.device),
            earlier,
            config.layer,
            torch.tensor([unit]),
            position,
            config.maxpool_gradient,
        )[0].abs()
        by_unit = amounts.sum((1, 2))
        total = float(by_unit.sum())
        if total == 0:
            continue
        strongest = by_unit.argsort(descending=True, stable=True)[:NUM_INPUTS]
        # The position of the layer before that looks at the same place.
        scale = np.array(amounts.shape[1:]) / later_size
        row, col = ((np.array(patch.position) + 0.5) * scale).astype(int).tolist()
        found[unit] = _Inputs(
            pattern=pattern_around(amounts, row, col) / total,
            units=strongest.tolist(),
            shares=(by_unit[strongest] / total).tolist(),
        )
    return found


TUNING_ICONS = Stage(
    name="tuning_icons",
    version=1,
    config=TuningIconsConfig,
    inputs=TuningIconsInputs,
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
    families: Mapping[str, Step],
    patches: Mapping[str, Step],
    crops: Step,
) -> Iterator[tuple[str, Step]]:
    """The icons of the families that get a figure, layer by layer; none where the config asks for none."""
    tuning = config.tuning
    assert tuning is not None
    for layer in shown_layers(config) if tuning.icons else ():
        yield (
            layer,
            Step(
                stage=TUNING_ICONS,
                config=TuningIconsConfig(
                    model=model_config(config),
                    layer=layer,
                    seed=config.seed,
                    num_families=tuning.num_families,
                    only=units_only(config, layer),
                    maxpool_gradient=config.sample.maxpool_gradient,
                    has_inputs=bool(config.stitch.examples),
                    invert=config.invert.of_unit_icons(),
                ),
                inputs={
                    "index": index,
                    "spread": spreads[layer],
                    "families": families[layer],
                    "patches": patches[layer],
                    **({"crops": crops} if config.invert.image == "maco" else {}),
                },
                settings=run_settings(config),
                layer=layer,
            ),
        )
