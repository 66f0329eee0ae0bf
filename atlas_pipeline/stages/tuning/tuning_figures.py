"""tuning_figures: a figure for each family, and the numbers of all families and units as JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas_pipeline.config.run_settings import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.document.provenance import picture_text, random_weights_caption
from atlas_pipeline.document.tuning_document import family_numbers, tuning_document, units_csv
from atlas_pipeline.engine.declaration import FILES, Publishes
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.images.generated.stimuli import Place, StimulusSet, stimulus
from atlas_pipeline.models.network_name import model_title
from atlas_pipeline.numerics.tuning import Map, correlation
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.files import file_stream
from atlas_pipeline.tables.tuning_table import (
    TUNING,
    KnownFamily,
    Patch,
    RealResponses,
    first_patches,
    maps_of,
    real_responses,
    shown_families,
    shown_layers,
    shown_members,
    stimulus_set,
    turned_mean,
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
    """The responses to all stimuli, the families, the responses to turned real patches, and icons."""

    responses: Artefact
    families: Artefact
    patches: Artefact
    icons: Artefact | None = None


FiguresJob = Job[TuningFiguresConfig, TuningFiguresInputs]


def _shown(job: FiguresJob) -> list[KnownFamily]:
    return shown_families(job.inputs.families, job.config.num_families, job.config.only)


def _compute(task: Task, jobs: Sequence[FiguresJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    members = {_file_of(family): family.members.tolist() for family in _shown(job)}
    found = {unit for units in members.values() for unit in units}
    notes = {"members": members, "without": [unit for unit in job.config.only if unit not in found]}
    return [Output(table=file_stream(_files(job, runtime)), notes=notes)]


def _files(job: FiguresJob, runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    responses, families, icons = job.inputs.responses, job.inputs.families, job.inputs.icons
    maps, of = maps_of(responses), stimulus_set(responses.config["stimuli"])
    earlier = None if icons is None else icons.notes["earlier"]
    listed = []
    for family in _shown(job):
        real = real_responses(job.inputs.patches, family, of.num_orientations)
        facts = families.notes["families"][family.number]
        numbers = family_numbers(family, facts, maps, real, _inputs(job, family))
        listed.append(numbers)
        yield _file_of(family), _figure(job, family, maps, of, real, numbers)
        runtime.advance(1)
    config = job.config
    yield (
        "families.json",
        tuning_document(config.layer, config.model, responses, families, listed, earlier),
    )
    yield "units.csv", units_csv(families)
    runtime.advance(1)


def _file_of(family: KnownFamily) -> str:
    return f"family-{family.number + 1}.png"


def _figure(
    job: FiguresJob,
    family: KnownFamily,
    maps: Map,
    of: StimulusSet,
    real: RealResponses,
    numbers: dict[str, Any],
) -> bytes:
    # Matplotlib takes seconds to import, and the pipeline imports this module.
    from atlas_pipeline.figure.tuning_figure import NUM_TURNS, FamilyFigure, family_png

    shape, look = divmod(family.condition, len(of.looks))
    joint = family.joint(maps)
    others = real.curves(own=False)
    first = first_patches(job.inputs.patches, family)
    members = shown_members(family, first)
    shown = next((p for p in real.pictures if p), None)
    turns = np.arange(NUM_TURNS) * (360 / NUM_TURNS)
    figure = FamilyFigure(
        title=f"{job.config.layer}: {len(family.members)} units that are rotations of each other",
        caption=_caption(job, family, numbers),
        stimulus=numbers["stimulus"],
        period=family.period,
        names=[str(unit) for unit in family.members],
        orientation=family.orientation.tolist(),
        shown=members,
        pictures=_pictures(job, family, members, first),
        curves=maps[family.members][:, :, family.condition],
        joint=joint[:, family.condition],
        shapes=[one.name for one in of.shapes],
        shape_pictures=[stimulus(one, of.looks[look], 0.0, of.stroke_width, _place()) for one in of.shapes],
        by_shape=joint.reshape(of.num_orientations, len(of.shapes), len(of.looks))[:, :, look].T,
        real=others,
        real_joint=None if others is None else turned_mean(others, family),
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


def _pictures(
    job: FiguresJob, family: KnownFamily, members: Sequence[int], first: Mapping[int, Patch]
) -> dict[str, list[np.ndarray | None]]:
    """Rows of pictures of the members shown, by heading. All are as they stood in the photo, at one scale."""
    patches = [first[member].png if member in first else None for member in members]
    rows = {
        "A real patch that drives the member": [
            None if png is None else _turned(picture_of(png), family.orientation[member])
            for member, png in zip(members, patches, strict=True)
        ]
    }
    if job.inputs.icons is not None:
        rows["The member's icon"] = _icons(job, family, members, "icon")
        earlier = job.inputs.icons.notes["earlier"]
        if earlier is not None:
            words = f"Its inputs in {earlier} at that patch, |W h| as an icon"
            rows[words] = _icons(job, family, members, "inputs_icon")
    return {words: row for words, row in rows.items() if any(one is not None for one in row)}


def _inputs(job: FiguresJob, family: KnownFamily) -> dict[int, list[dict[str, Any]]]:
    """The strongest inputs of the members that have any, by unit."""
    if job.inputs.icons is None:
        return {}
    rows = job.inputs.icons.read(["family", "unit", "input_units", "input_shares"]).to_pylist()
    return {
        row["unit"]: [
            {"unit": unit, "share": share}
            for unit, share in zip(row["input_units"], row["input_shares"], strict=True)
        ]
        for row in rows
        if row["family"] == family.number and row["input_units"]
    }


def _icons(
    job: FiguresJob, family: KnownFamily, members: Sequence[int], column: str
) -> list[np.ndarray | None]:
    """Icons of the members, cut to the field that a patch's picture shows."""
    assert job.inputs.icons is not None
    table = job.inputs.icons.read(["family", "unit", column]).to_pylist()
    pngs = {row["unit"]: row[column] for row in table if row["family"] == family.number}
    side = 2 * round(PICTURE_RADII * job.inputs.responses.notes["place"]["radius"])
    found = [pngs[unit] for unit in family.members[members].tolist()]
    return [None if png is None else _middle(picture_of(png), side) for png in found]


def _middle(picture: np.ndarray, side: int) -> np.ndarray:
    cut = max(0, (picture.shape[0] - side) // 2)
    middle = picture[cut : picture.shape[0] - cut, cut : picture.shape[1] - cut]
    return over_ground(middle[None], 255)[0]


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
        f"Stimuli are sized to the layer's effective field, {radius:g} px in radius. Orientations "
        "run counterclockwise; at 0° the hollow side is to the right."
    )


TUNING_FIGURES = Stage(
    name="tuning_figures",
    version=3,
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
    icons: Mapping[str, Step],
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
                    **({"icons": icons[layer]} if layer in icons else {}),
                },
                layer=layer,
                view=TUNING,
            ),
        )
