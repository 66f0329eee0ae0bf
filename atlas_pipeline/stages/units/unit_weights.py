"""unit_weights: the strongest weights from the units of the block before to each unit, and on to the next."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import model_config, run_settings
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import Column
from atlas_pipeline.engine.stage import Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.tables.chosen_units import chosen_units, numbers_of

if TYPE_CHECKING:
    from atlas_pipeline.models import Network

_TABLE = pa.schema(
    [
        ("unit", pa.int32()),
        ("side", pa.string()),
        ("other_layer", pa.string()),
        ("other_unit", pa.int32()),
        ("strength", pa.float32()),
        ("net", pa.float32()),
        ("rows", pa.int16()),
        ("kernel", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitWeightsConfig:
    """units: empty for all. num: strongest weights kept of each sign, on each side."""

    model: Mapping[str, Any]
    layer: str
    units: Sequence[int]
    num: int


WeightsJob = Job[UnitWeightsConfig, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Weight:
    """A weight between two units. strength: sum of the kernel's absolute values. net: sum of its values."""

    strength: float
    other: int
    net: float
    kernel: np.ndarray


def _compute(task: Task, jobs: Sequence[WeightsJob], runtime: Runtime) -> list[Output]:
    from atlas_pipeline.models import check_layers
    from atlas_pipeline.models.expanded_weights import layers_beside
    from atlas_pipeline.models.layer_samples import map_shape

    (job,) = jobs
    config, layer = job.config, job.config.layer
    network = opened_network(job.settings.model, runtime.device)
    check_layers(network, [layer])
    units = numbers_of(config.units, map_shape(network, layer)[0])
    before, after = layers_beside(network, layer)
    rows: list[dict[str, Any]] = []
    notes: dict[str, Any] = {"before": before, "after": after, "why": {}}
    for side, other in (("before", before), ("after", after)):
        if other is None:
            continue
        found, why = _strongest(network, layer, other, side, units, config.num)
        if why:
            notes["why"][side] = why
        rows += [
            {
                "unit": unit,
                "side": side,
                "other_layer": other,
                "other_unit": weight.other,
                "strength": weight.strength,
                "net": weight.net,
                "rows": weight.kernel.shape[0],
                "kernel": weight.kernel.ravel(),
            }
            for unit, weights in found.items()
            for weight in weights
        ]
    runtime.advance(1)
    return [Output(table=pa.Table.from_pylist(rows, schema=_TABLE), notes=notes)]


def _strongest(
    network: Network, layer: str, other: str, side: str, units: Sequence[int], num: int
) -> tuple[dict[int, list[_Weight]], str]:
    """By unit the strongest weights of either sign, from the strongest; and why there are none, or ""."""
    from atlas_pipeline.models.expanded_weights import NoWeightsError, expanded_weights

    ends = (other, layer) if side == "before" else (layer, other)
    found: dict[int, list[_Weight]] = {unit: [] for unit in units}
    try:
        for later, kernels in expanded_weights(network, *ends):
            values = kernels.numpy()
            strength = np.abs(values).sum((2, 3), dtype=np.float64)
            net = values.sum((2, 3), dtype=np.float64)
            for unit in units:
                if side == "before" and not later.start <= unit < later.stop:
                    continue
                # The weights of this unit, one for each other unit of this part.
                at = (unit - later.start,) if side == "before" else (slice(None), unit)
                first = 0 if side == "before" else later.start
                new = _best(strength[at], net[at], values[at], first, num)
                found[unit] = _kept([*found[unit], *new], num)
    except NoWeightsError as error:
        return {}, f"the weights between {ends[0]} and {ends[1]} are not known: {error}"
    return found, ""


def _best(
    strength: np.ndarray, net: np.ndarray, kernels: np.ndarray, first: int, num: int
) -> Iterator[_Weight]:
    order = np.argsort(-strength, kind="stable")
    for positive in (True, False):
        for other in order[(net[order] > 0) if positive else (net[order] < 0)][:num]:
            yield _Weight(
                float(strength[other]), int(first + other), float(net[other]), kernels[other].copy()
            )


def _kept(weights: Sequence[_Weight], num: int) -> list[_Weight]:
    """The strongest of either sign."""

    def key(weight: _Weight) -> tuple[float, int]:
        # The unit with the lower number comes first where strengths are equal.
        return weight.strength, -weight.other

    excite = heapq.nlargest(num, (one for one in weights if one.net > 0), key=key)
    inhibit = heapq.nlargest(num, (one for one in weights if one.net < 0), key=key)
    return sorted([*excite, *inhibit], key=key, reverse=True)


UNIT_WEIGHTS = Stage(
    name="unit_weights",
    version=1,
    config=UnitWeightsConfig,
    unit="layers",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=tuple(Column(field.name, field.type) for field in _TABLE),
    commands=("units",),
    remarks=lambda step, artefact: [f"{step.layer}: {why}" for why in artefact.notes["why"].values()],
)


def steps(config: Config, layers: Sequence[str]) -> Iterator[tuple[str, Step]]:
    """The strongest weights of each layer's units; none where the config asks for none."""
    assert config.units is not None
    for layer in layers if config.units.num_weights else ():
        yield (
            layer,
            Step(
                stage=UNIT_WEIGHTS,
                config=UnitWeightsConfig(
                    model=model_config(config),
                    layer=layer,
                    units=chosen_units(config, layer),
                    num=config.units.num_weights,
                ),
                settings=run_settings(config),
                layer=layer,
            ),
        )
