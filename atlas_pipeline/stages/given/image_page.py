"""image: write the page of a picture given by path.

The page's script is part of the artefact, so that a folder stays whole: a change of it needs a new version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.run_settings import labels_digest, model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.declaration import FILES, Publishes, many
from atlas_pipeline.engine.stage import Artefact, Job, Output, Runtime, Stage, Step, Task
from atlas_pipeline.inversion.settings import MID_GREY
from atlas_pipeline.models.network_name import has_random_weights, network_name, weights_note
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.numerics.neuron_groups import NeuronGroups, group_attribution
from atlas_pipeline.numerics.picture_numbers import map_attribution, units_above
from atlas_pipeline.numerics.regions import agreeing_regions, connected_regions
from atlas_pipeline.pictures.png_codec import over_ground, picture_of
from atlas_pipeline.tables.chosen_units import chosen_units, page_layers
from atlas_pipeline.tables.columns import column_matrix
from atlas_pipeline.tables.files import file_table
from atlas_pipeline.tables.given_settings import GivenMap, GivenSettings, given_map, network_and_image
from atlas_pipeline.viewer.picture_card import CARD_FILE, PICTURE_FILE, PictureCard
from atlas_pipeline.viewer.picture_files import ICON_PX, levels, picture_page_files, rounded
from atlas_pipeline.viewer.scripts import packed, script, webp
from atlas_pipeline.viewer.unit_files import base64_of, sheet_of

# Side of the picture on its page, and of the icons of groups and positions.
PICTURE_PX, GROUP_PX = 448, 112
# Share of a linearisation that its sums may lack; above float32's rounding of thousands of products.
MAX_GAP = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePageConfig:
    """picture: sha256 of the file's bytes. grid: cells along a side of the finest grid of each layer.

    file: the file's name, for the title. unit_pages: by layer, the units with pages; empty for all of them.
    num_units: named at each position. labels: digest of the file of class labels.
    """

    run: str
    source: str
    name: str | None
    model: Mapping[str, Any]
    picture: str
    file: str
    layers: Sequence[str]
    unit_pages: Mapping[str, Sequence[int]]
    grid: int
    num_units: int
    labels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePageInputs:
    """All that is known of the picture, by layer; ``between`` by the later layer."""

    maps: Mapping[str, Artefact] = many("map")
    gradients: Mapping[str, Artefact] = many("gradients")
    spreads: Mapping[str, Artefact] = many("spread")
    bins: Mapping[str, Artefact] = many("bin")
    atlas_icons: Mapping[str, Artefact] = many("invert")
    cells: Mapping[str, Artefact] = many("cells")
    groups: Mapping[str, Artefact] = many("groups")
    icons: Mapping[str, Artefact] = many("icons")
    patches: Mapping[str, Artefact] = many("patches")
    between: Mapping[str, Artefact] = many("between")


PageJob = Job[ImagePageConfig, ImagePageInputs]


def _compute(task: Task, jobs: Sequence[PageJob], runtime: Runtime) -> list[Output]:
    (job,) = jobs
    config = job.config
    network, image = network_and_image(job.settings, "cpu")
    scripts, gaps = {}, []
    best: dict[str, Any] = {}
    for number, layer in enumerate(config.layers):
        known = _Layer(job, layer, network.class_names)
        values = known.values()
        scripts[f"layer-{number}.js"] = script(values)
        gaps.append(known.largest_gap)
        best = max(values["classes"], key=lambda one: one["logit"])
        runtime.advance(1 / len(config.layers))
    pixels = image[0].permute(1, 2, 0).numpy()
    shown = webp(resized(pixels, PICTURE_PX) if len(pixels) > PICTURE_PX else pixels)
    run = {
        "run": config.run,
        "model": network_name(config.source, config.name),
        "weights": weights_note(config.model),
        "random": has_random_weights(config.model),
        "file": config.file,
        "note": job.settings.picture.note or "",
        "picture": base64_of(shown),
        "layers": list(config.layers),
        "grid": config.grid,
    }
    card = PictureCard(
        file=config.file, label=best["label"], probability=best["probability"], layers=tuple(config.layers)
    )
    files = {**picture_page_files(run, scripts), PICTURE_FILE: shown, CARD_FILE: card.as_json()}
    name = job.settings.picture.name
    table = file_table({f"{name}/{file}": content for file, content in files.items()})
    return [Output(table=table, notes={"largest_gap": max(gaps)})]


class _Layer:
    """The numbers of one layer for the page."""

    def __init__(self, job: PageJob, layer: str, class_names: Sequence[str]) -> None:
        self._job, self._layer, self._names = job, layer, class_names
        self._map: GivenMap = given_map(job.inputs.maps[layer])
        self._table = job.inputs.gradients[layer].read()
        self.largest_gap = 0.0

    def values(self) -> dict[str, Any]:
        """All of them, JSON-able."""
        found, inputs = self._map, self._job.inputs
        return {
            "layer": self._layer,
            "height": found.height,
            "width": found.width,
            "channels": found.activations.shape[1],
            "length": rounded(np.linalg.norm(found.activations, axis=1)),
            "unitPages": self._job.config.unit_pages.get(self._layer),
            "units": self._units(),
            **self._attributions(),
            **self._places(),
            "groups": self._groups(),
            "positionIcons": self._position_icons(),
            "before": self._before(inputs.between.get(self._layer)),
        }

    def _units(self) -> list[Any]:
        """For each position its units farthest above their mean, and by how many standard deviations."""
        spread = self._job.inputs.spreads[self._layer].read()
        units, above = units_above(
            self._map.activations,
            spread["mean"].to_numpy(),
            spread["sd"].to_numpy(),
            self._job.config.num_units,
        )
        return [
            [[unit, round(value, 2)] for unit, value in zip(of_units, values, strict=True) if value > 0]
            for of_units, values in zip(units.tolist(), above.tolist(), strict=True)
        ]

    def _gradients(self, method: str) -> np.ndarray:
        """(class, channel, position) float32."""
        matrix = column_matrix(self._table, method)
        return matrix.reshape(len(matrix), self._map.activations.shape[1], -1)

    def _attributions(self) -> dict[str, Any]:
        """Attributions of positions and channels to each class, by the gradient and by the path."""
        made: dict[str, Any] = {}
        sums = {}
        for method in ("gradient", "path"):
            positions, channels = map_attribution(self._map.activations, self._gradients(method))
            made[method] = {"positions": rounded(positions), "channels": rounded(channels, 3)}
            sums[method] = positions.sum(axis=1)
        expected = self._table["gradient_expected"].to_numpy(zero_copy_only=False)
        outside = self._table["gradient_outside"].to_numpy()
        gaps = np.abs(sums["gradient"] + outside - expected) / np.maximum(1, np.abs(expected))
        self.largest_gap = float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
        columns = self._table.drop_columns(["gradient", "path"]).to_pylist()
        made["classes"] = [
            {
                "index": row["class"],
                "label": str(self._names[row["class"]]),
                "logit": round(row["logit"], 4),
                "probability": round(row["probability"], 4),
                "gradientSum": round(float(sums["gradient"][at]), 4),
                "gradientOutside": round(row["gradient_outside"], 4),
                "gradientExpected": None
                if row["gradient_expected"] is None
                else round(row["gradient_expected"], 4),
                "pathSum": round(float(sums["path"][at]), 4),
                "pathOutside": round(row["path_outside"], 4),
                "pathExpected": round(row["path_expected"], 4),
            }
            for at, row in enumerate(columns)
        ]
        return made

    def _places(self) -> dict[str, Any]:
        """Where the positions lie on the atlas: cells with icons, names, regions and patches."""
        inputs, layer = self._job.inputs, self._layer
        found = inputs.cells[layer].read()
        cell = found["cell"].to_numpy()
        used = np.unique(cell[cell >= 0])
        slot = {int(one): number for number, one in enumerate(used)}
        atlas = inputs.bins[layer].read(["row", "col", "count"]).take(pa.array(used)).to_pylist()
        names, regions = self._regions()
        icons = inputs.atlas_icons[layer].read(["icon"])["icon"].take(pa.array(used)).to_pylist()
        return {
            "cell": [slot.get(one, -1) for one in cell.tolist()],
            "cosine": rounded(found["cosine"].to_numpy()),
            "cells": [
                {**place, "name": names[one], "region": int(regions[one])}
                for place, one in zip(atlas, used.tolist(), strict=True)
            ],
            "cellIcons": _sheet(icons, ICON_PX),
            "patches": self._patches(),
        }

    def _regions(self) -> tuple[list[str], np.ndarray]:
        """For each cell of the atlas its top class ("" without attributions), and the number of its region.

        A region is a connected part of the map with one top class, on which most of its activations agree.
        """
        cells = self._job.inputs.bins[self._layer]
        if "attribution" not in cells.schema.names:
            return [""] * cells.num_rows, np.full(cells.num_rows, -1)
        table = cells.read(["row", "col", "count", "consistency"])
        tops = []
        # One batch at a time: with 1,000 classes the attributions of a fine grid take gigabytes.
        for part in cells.batches(["attribution"]):
            attribution = column_matrix(part, "attribution")
            known = np.where(np.isfinite(attribution), attribution, -np.inf)
            tops.append(np.where(np.isfinite(known).any(axis=1), known.argmax(axis=1), -1))
        top = np.concatenate(tops)
        places = np.column_stack([table["row"].to_numpy(), table["col"].to_numpy()])
        number = connected_regions(places, top, self._job.config.grid)
        number = agreeing_regions(number, table["count"].to_numpy(), table["consistency"].to_numpy())
        classes = cells.notes["classes"]
        return ["" if one < 0 else str(self._names[classes[one]]) for one in top.tolist()], number

    def _patches(self) -> list[str] | None:
        """For each cell in use, a strip of real patches; None where images must stay private."""
        patches = self._job.inputs.patches.get(self._layer)
        return (
            None
            if patches is None
            else [base64_of(one) for one in patches.read(["strip"])["strip"].to_pylist()]
        )

    def _groups(self) -> dict[str, Any] | None:
        artefact = self._job.inputs.groups[self._layer]
        if not artefact.num_rows:
            return None
        table, icons = artefact.read(), self._icons("group")
        groups = NeuronGroups(
            weights=column_matrix(table, "weight").T.astype(np.float64),
            directions=column_matrix(table, "direction").astype(np.float64),
            explained=artefact.notes["explained"],
        )
        return {
            "explained": round(groups.explained, 4),
            "hasNegative": artefact.notes["has_negative"],
            "weights": rounded(groups.weights.T, 3),
            "gradient": rounded(group_attribution(groups, self._gradients("gradient"))),
            "path": rounded(group_attribution(groups, self._gradients("path"))),
            "units": np.argsort(-groups.directions, axis=1, kind="stable")[:, :4].tolist(),
            "icons": _sheet([png for _, png, _ in icons], GROUP_PX),
            "fidelity": [round(value, 3) for _, _, value in icons],
        }

    def _position_icons(self) -> dict[str, Any] | None:
        icons = self._icons("position")
        if not icons:
            return None
        return {
            "at": [number for number, _, _ in icons],
            "icons": _sheet([png for _, png, _ in icons], GROUP_PX),
            "fidelity": [round(value, 3) for _, _, value in icons],
        }

    def _icons(self, kind: str) -> list[tuple[int, bytes, float]]:
        """Number, PNG and fidelity of the icons of a kind, in order."""
        rows = self._job.inputs.icons[self._layer].read().to_pylist()
        return [(row["number"], row["icon"], row["fidelity"]) for row in rows if row["kind"] == kind]

    def _before(self, between: Artefact | None) -> dict[str, Any] | None:
        """The attribution of each position to the positions of the run's layer before."""
        if between is None:
            return None
        layers = list(self._job.config.layers)
        earlier = layers[layers.index(self._layer) - 1]
        found = given_map(self._job.inputs.maps[earlier])
        values, most = levels(column_matrix(between.read(), "attribution"))
        return {
            "layer": earlier,
            "height": found.height,
            "width": found.width,
            "why": between.notes["why"],
            "most": most,
            "levels": packed(values),
        }


def _sheet(pngs: Sequence[bytes], px: int) -> dict[str, Any] | None:
    if not pngs:
        return None
    return sheet_of(np.stack([resized(over_ground(picture_of(one)[None], MID_GREY)[0], px) for one in pngs]))


def _remarks(step: Step, artefact: Artefact) -> list[str]:
    lines, gap = list(step.settings.lines), artefact.notes["largest_gap"]
    if gap > MAX_GAP:
        lines.append(
            f"{step.settings.picture.path}: attributions add up to the logits' linearisation only within "
            f"{gap:.1g} of it"
        )
    return lines


IMAGE_PAGE = Stage(
    name="image",
    version=2,
    config=ImagePageConfig,
    inputs=ImagePageInputs,
    unit="pictures",
    split=lambda job: [{}],
    size=lambda task: 1,
    compute=_compute,
    columns=FILES,
    commands=("image",),
    publishes=Publishes.FILE,
    remarks=_remarks,
)


def step(config: Config, settings: GivenSettings, by_role: Mapping[str, Step]) -> Step:
    """The page of one picture. by_role: its inputs, such as ``map <layer>``."""
    return Step(
        stage=IMAGE_PAGE,
        config=ImagePageConfig(
            run=config.name,
            source=config.model.source,
            name=config.model.name,
            model=model_config(config),
            picture=settings.picture.digest,
            file=settings.picture.path.rpartition("/")[2],
            layers=tuple(config.layers),
            unit_pages={
                layer: chosen_units(config, layer) for layer in page_layers(config) if layer in config.layers
            },
            grid=max(config.grid.sizes),
            num_units=config.image.num_units,
            labels=labels_digest(config),
        ),
        inputs=by_role,
        settings=settings,
        view=settings.picture.name,
    )
