"""tuning_families: find the units of a layer whose maps of responses are rotations of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import columns_of
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.errors import counted
from atlas_pipeline.numerics.tuning import (
    Family,
    Map,
    families,
    largest_gap,
    null_agreements,
    oriented_share,
    swing,
)
from atlas_pipeline.tables.tuning_table import FAMILY_TABLE, NO_FAMILY, condition_name, maps_of, stimulus_set

# Pairs of shuffled maps, and the quantile of their agreements that is reported.
NUM_NULL_PAIRS, NULL_QUANTILE = 1000, 0.99
# A unit is oriented if its orientation explains this share of its map's variance, and if turning the best
# stimulus changes it by this many standard deviations.
LEAST_SHARE, LEAST_SWING = 0.1, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFamiliesConfig:
    """min_agreement, min_members: see `numerics.tuning.families`. seed: of the shuffled maps."""

    min_agreement: float
    min_members: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFamiliesInputs:
    """The responses of all units to all stimuli, and the units' values over the images."""

    responses: Artefact
    spread: Artefact
    examples: Artefact


FamiliesJob = Job[TuningFamiliesConfig, TuningFamiliesInputs]


def _compute(task: Task, jobs: Sequence[FamiliesJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    config, maps = job.config, maps_of(job.inputs.responses)
    of = stimulus_set(job.inputs.responses.config["stimuli"])
    is_dead = _dead(job)
    shares, swings = oriented_share(maps), swing(maps)
    oriented = np.flatnonzero(~is_dead & (shares >= LEAST_SHARE) & (swings >= LEAST_SWING))
    found = families(maps[oriented], config.min_agreement, config.min_members)
    null = null_agreements(maps[oriented], NUM_NULL_PAIRS, config.seed) if len(oriented) > 1 else None
    runtime.advance(1)
    notes = {
        "num_units": len(maps),
        "num_dead": int(is_dead.sum()),
        "num_oriented": len(oriented),
        "null": None if null is None else float(np.quantile(null, NULL_QUANTILE)),
        "null_quantile": NULL_QUANTILE,
        "least_share": LEAST_SHARE,
        "least_swing": LEAST_SWING,
        "families": [
            {
                "condition": family.condition,
                "named": condition_name(of, family.condition),
                "period": family.period,
                "size": len(family.members),
                "agreement": float(family.agreement.mean()),
                "largest_gap": largest_gap(family.orientation, family.period),
            }
            for family in found
        ],
    }
    return [Output(table=_table(maps, oriented, found, shares, swings, is_dead), notes=notes)]


def _dead(job: FamiliesJob) -> np.ndarray:
    """(U,): units that never vary, or whose ReLU lets nothing through in any image."""
    spread = job.inputs.spread.read(["sd", "is_before_relu"])
    is_before = spread["is_before_relu"].to_numpy(zero_copy_only=False)
    highest = np.array([top[0] for top in job.inputs.examples.read(["top_value"])["top_value"].to_pylist()])
    return (spread["sd"].to_numpy() <= 0) | (is_before & (highest <= 0))


def _table(
    maps: Map,
    oriented: np.ndarray,
    found: Sequence[Family],
    shares: np.ndarray,
    swings: np.ndarray,
    is_dead: np.ndarray,
) -> pa.Table:
    num, num_orientations = maps.shape[:2]
    flat = maps.reshape(num, -1)
    best = flat.argmax(1)
    columns: dict[str, np.ndarray] = {
        "unit": np.arange(num),
        "family": np.full(num, NO_FAMILY),
        "orientation": np.full(num, np.nan),
        "rotation": np.zeros(num),
        "agreement": np.full(num, np.nan),
        "oriented_share": shares,
        "swing": swings,
        "condition": best % maps.shape[2],
        "best_orientation": best // maps.shape[2] * (360 / num_orientations),
        "best_response": flat.max(1),
        "is_dead": is_dead,
    }
    for number, family in enumerate(found):
        units = oriented[family.members]
        columns["family"][units] = number
        for name in ("orientation", "rotation", "agreement"):
            columns[name][units] = getattr(family, name)
    arrays = [
        pa.array(columns[field.name].astype(field.type.to_pandas_dtype()), field.type)
        for field in FAMILY_TABLE
    ]
    return pa.Table.from_arrays(arrays, schema=FAMILY_TABLE)


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    notes, lines = artefact.notes, []
    num = len(notes["families"])
    lines.append(
        f"{step.layer}: {notes['num_oriented']} of {notes['num_units']} units are tuned to orientation; "
        f"{num} {'family' if num == 1 else 'families'} of units that are rotations of each other"
    )
    least = artefact.config["min_agreement"]
    if notes["null"] is not None and notes["null"] >= least:
        lines.append(
            f"{step.layer}: 1 % of pairs of shuffled maps agree by {notes['null']:.2f} or more, and "
            f"tuning.min_agreement is {least:g}: families may be due to chance; raise it"
        )
    if notes["num_dead"]:
        lines.append(f"{step.layer}: {counted(notes['num_dead'], 'dead unit')} in no family")
    return lines


TUNING_FAMILIES = Stage(
    name="tuning_families",
    version=1,
    config=TuningFamiliesConfig,
    inputs=TuningFamiliesInputs,
    unit="layers",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=columns_of(FAMILY_TABLE),
    commands=("tuning",),
    remarks=_remarks,
)


def steps(
    config: Config, responses: Mapping[str, Step], spreads: Mapping[str, Step], examples: Mapping[str, Step]
) -> Iterator[tuple[str, Step]]:
    """The families of each layer."""
    tuning = config.tuning
    assert tuning is not None
    for layer, of_layer in responses.items():
        yield (
            layer,
            Step(
                stage=TUNING_FAMILIES,
                config=TuningFamiliesConfig(
                    min_agreement=tuning.min_agreement, min_members=tuning.min_members, seed=config.seed
                ),
                inputs={"responses": of_layer, "spread": spreads[layer], "examples": examples[layer]},
                layer=layer,
            ),
        )
