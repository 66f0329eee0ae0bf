"""tuning_figures: a figure for each family, and the numbers of all families and units as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images.generated.stimuli import Place, StimulusSet, stimulus
from atlas_pipeline.models.network_name import model_title
from atlas_pipeline.numerics.tuning import Map, correlation
from atlas_pipeline.pictures.png_codec import picture_of
from atlas_pipeline.tables.files import file_stream
from atlas_pipeline.tables.tuning_table import (
    TUNING,
    KnownFamily,
    maps_of,
    shown_families,
    shown_layers,
    stimulus_set,
    units_only,
)

PICTURE_PX = 96
# Field radii from the middle of a stimulus's picture to its edge, as in the patches' pictures.
PICTURE_RADII = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFiguresConfig:
    """num_families, only: see `tables.tuning_table.shown_families`."""

    model: Mapping[str, Any]
    layer: str
    num_families: int
    only: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFiguresInputs:
    """The responses to all stimuli, the families, and the responses to turned real patches."""

    responses: Artefact
    families: Artefact
    patches: Artefact


FiguresJob = Job[TuningFiguresConfig, TuningFiguresInputs]


@dataclass(frozen=True, slots=True, eq=False)
class _Real:
    """The responses of a family's members to turned real patches.

    owner: (patch,), the member that a patch drives. response: (patch, orientation, member). pictures: PNG.
    """

    owner: np.ndarray
    response: np.ndarray
    pictures: Sequence[bytes | None]

    def curves(self, *, own: bool) -> Map | None:
        """(member, orientation): mean over a member's own patches, or over those of all others.

        None: some member has none.
        """
        num_members = self.response.shape[2]
        belongs = self.owner[:, None] == np.arange(num_members)
        weights = (belongs if own else ~belongs).astype(np.float64)
        if not len(self.owner) or not weights.sum(0).all():
            return None
        return np.einsum("pm,pom->mo", weights / weights.sum(0), self.response)


def _shown(job: FiguresJob) -> list[KnownFamily]:
    return shown_families(job.inputs.families, job.config.num_families, job.config.only)


def _compute(task: Task, jobs: Sequence[FiguresJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    members = {_file_of(family): family.members.tolist() for family in _shown(job)}
    found = {unit for units in members.values() for unit in units}
    notes = {"members": members, "without": [unit for unit in job.config.only if unit not in found]}
    return [Output(table=file_stream(_files(job, runtime)), notes=notes)]


def _files(job: FiguresJob, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    maps, of = maps_of(job.inputs.responses), stimulus_set(job.inputs.responses.config["stimuli"])
    listed = []
    for family in _shown(job):
        real = _real(job, family, of)
        numbers = _numbers(job, family, maps, real)
        listed.append(numbers)
        yield _file_of(family), _figure(job, family, maps, of, real, numbers)
        runtime.advance(1)
    yield "families.json", _document(job, of, listed)
    yield "units.csv", _units_csv(job.inputs.families)
    runtime.advance(1)


def _file_of(family: KnownFamily) -> str:
    return f"family-{family.number + 1}.png"


def _real(job: FiguresJob, family: KnownFamily, of: StimulusSet) -> _Real:
    num_members = len(family.members)
    rows = [row for row in job.inputs.patches.read().to_pylist() if row["family"] == family.number]
    response = np.array([row["response"] for row in rows], np.float64)
    members = family.members.tolist()
    return _Real(
        owner=np.array([members.index(row["unit"]) for row in rows], np.int64),
        response=response.reshape(len(rows), of.num_orientations, num_members),
        pictures=[row["patch"] for row in rows],
    )


def _numbers(job: FiguresJob, family: KnownFamily, maps: Map, real: _Real) -> dict[str, Any]:
    """A family for the JSON."""
    facts = job.inputs.families.notes["families"][family.number]
    curves = maps[family.members][:, :, family.condition]
    others, own = real.curves(own=False), real.curves(own=True)
    joint = family.joint(maps)[:, family.condition]
    return {
        "family": family.number + 1,
        "stimulus": facts["named"],
        "period": family.period,
        "agreement": facts["agreement"],
        "largest_gap": facts["largest_gap"],
        "joint": joint.tolist(),
        "real": {
            "num_patches": len(real.owner),
            "joint": None if others is None else _turned_mean(others, family).tolist(),
            "correlation": None if others is None else _number(correlation(others, curves)),
            "correlation_own": None if own is None else _number(correlation(own, curves)),
        },
        "members": [
            {
                "unit": int(unit),
                "orientation": float(angle),
                "agreement": float(agreement),
                "real_correlation": None if others is None else _number(correlation(others[at], curves[at])),
                "curve": curves[at].tolist(),
                "real_curve": None if others is None else others[at].tolist(),
            }
            for at, (unit, angle, agreement) in enumerate(
                zip(family.members, family.orientation, family.agreement, strict=True)
            )
        ],
    }


def _turned_mean(curves: Map, family: KnownFamily) -> np.ndarray:
    """(orientation,): the mean of the members' curves, each turned so that it prefers 0."""
    return np.mean([np.roll(c, -k) for c, k in zip(curves, family.rotation, strict=True)], axis=0)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figure(
    job: FiguresJob, family: KnownFamily, maps: Map, of: StimulusSet, real: _Real, numbers: dict[str, Any]
) -> bytes:
    # Matplotlib takes seconds to import, and the pipeline imports this module.
    from atlas_pipeline.figure.tuning_figure import NUM_TURNS, FamilyFigure, family_png

    shape, look = divmod(family.condition, len(of.looks))
    joint = family.joint(maps)
    others = real.curves(own=False)
    pictures = [
        next((p for p, owner in zip(real.pictures, real.owner, strict=True) if owner == at and p), None)
        for at in range(len(family.members))
    ]
    shown = next((p for p in real.pictures if p), None)
    turns = np.arange(NUM_TURNS) * (360 / NUM_TURNS)
    figure = FamilyFigure(
        title=f"{job.config.layer}: {len(family.members)} units that are rotations of each other",
        caption=_caption(job, family, numbers),
        stimulus=numbers["stimulus"],
        period=family.period,
        names=[str(unit) for unit in family.members],
        orientation=family.orientation.tolist(),
        pictures=[None if png is None else picture_of(png) for png in pictures],
        curves=maps[family.members][:, :, family.condition],
        joint=joint[:, family.condition],
        shapes=[one.name for one in of.shapes],
        shape_pictures=[stimulus(one, of.looks[look], 0.0, of.stroke_width, _place()) for one in of.shapes],
        by_shape=joint.reshape(of.num_orientations, len(of.shapes), len(of.looks))[:, :, look].T,
        real=others,
        real_joint=None if others is None else _turned_mean(others, family),
        correlation=float("nan")
        if others is None
        else correlation(others, maps[family.members][:, :, family.condition]),
        num_patches=len(real.owner),
        turned_patches=[] if shown is None else [_turned(picture_of(shown), angle) for angle in turns],
        turned_stimuli=[
            stimulus(of.shapes[shape], of.looks[look], angle, of.stroke_width, _place()) for angle in turns
        ],
    )
    text = picture_text(job)
    return family_png(
        figure,
        {
            "title": f"{text['Title']} family {family.number + 1}",
            "subject": figure.caption,
            "creator": text["Software"],
            "provenance": text["Provenance"],
        },
    )


def _place() -> Place:
    return Place(PICTURE_PX, PICTURE_PX / 2, PICTURE_PX / 2, PICTURE_PX / 2 / PICTURE_RADII)


def _turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC))


def _caption(job: FiguresJob, family: KnownFamily, numbers: Mapping[str, Any]) -> str:
    notes, responses = job.inputs.families.notes, job.inputs.responses
    radius = responses.notes["place"]["radius"]
    null = (
        ""
        if notes["null"] is None
        else (f"; 99 % of pairs of shuffled maps agree by less than {notes['null']:.2f}")
    )
    symmetry = "" if family.period == 360 else f" The family looks the same after {family.period}°."
    random = random_weights_caption(job)
    return (
        f"{f'{random}. ' if random else ''}Network: {model_title(job.config.model)}. "
        "Values before the ReLU, in standard deviations of each unit over the data set. Members agree with "
        f"the mean of the others by {numbers['agreement']:.2f} (correlation of the parts of their maps that "
        f"depend on orientation, over {responses.num_rows:,} stimuli; at least "
        f"{job.inputs.families.config['min_agreement']:g} on average to join{null}).{symmetry} "
        f"Stimuli are sized to the layer's effective field, {radius:g} px in radius. Discs: a real patch "
        "that drives the member. Orientations run counterclockwise; at 0° the hollow side is to the right."
    )


def _document(job: FiguresJob, of: StimulusSet, listed: Sequence[Mapping[str, Any]]) -> bytes:
    notes, families = job.inputs.families.notes, job.inputs.families
    document = {
        "layer": job.config.layer,
        "model": model_title(job.config.model),
        "num_units": notes["num_units"],
        "num_dead": notes["num_dead"],
        "num_oriented": notes["num_oriented"],
        "oriented": {"least_share": notes["least_share"], "least_swing": notes["least_swing"]},
        "min_agreement": families.config["min_agreement"],
        "null": {"quantile": notes["null_quantile"], "agreement": notes["null"]},
        "stimuli": {
            "orientations": of.orientations.tolist(),
            "shapes": [shape.name for shape in of.shapes],
            "looks": [look.name for look in of.looks],
            "stroke_width": of.stroke_width,
            "place": dict(job.inputs.responses.notes["place"]),
        },
        "families": listed,
        "provenance": {name: one["fingerprint"] for name, one in families.inputs.items()},
    }
    return (json.dumps(document, allow_nan=False, indent=1) + "\n").encode()


def _units_csv(families: Artefact) -> bytes:
    """Every unit of the layer, a row each. Families count from 1; units without one have empty cells."""
    table = families.read().to_pylist()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    for row in table:
        is_member = row["family"] >= 0
        shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
        shown["family"] = row["family"] + 1 if is_member else ""
        for name in ("orientation", "rotation", "agreement"):
            shown[name] = shown[name] if is_member else ""
        writer.writerow(shown)
    return text.getvalue().encode()


TUNING_FIGURES = Stage(
    name="tuning_figures",
    version=2,
    config=TuningFiguresConfig,
    inputs=TuningFiguresInputs,
    unit="files",
    split=lambda job: [{"files": len(_shown(job)) + 1}],
    size=lambda task: task["files"],
    compute=_compute,
    columns=FILES,
    commands=("tuning",),
    publishes=Publishes.FIGURE,
    remarks=lambda step, artefact: [
        f"{step.layer}: unit {unit} is in no family" for unit in artefact.notes["without"]
    ],
)


def steps(
    config: Config,
    responses: Mapping[str, Step],
    families: Mapping[str, Step],
    patches: Mapping[str, Step],
) -> Iterator[tuple[str, Step]]:
    """The figures and tables of each layer."""
    tuning = config.tuning
    assert tuning is not None
    for layer in shown_layers(config):
        yield (
            layer,
            Step(
                stage=TUNING_FIGURES,
                config=TuningFiguresConfig(
                    model=model_config(config),
                    layer=layer,
                    num_families=tuning.num_families,
                    only=units_only(config, layer),
                ),
                inputs={
                    "responses": responses[layer],
                    "families": families[layer],
                    "patches": patches[layer],
                },
                layer=layer,
                view=TUNING,
            ),
        )
