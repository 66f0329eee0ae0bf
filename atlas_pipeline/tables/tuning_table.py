"""The maps of units and their families, as the stages of tuning store them, and back.

U = unit, O = orientation, C = condition: shape x look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine.stage import Artefact, Task
from atlas_pipeline.images.generated.stimuli import StimulusSet
from atlas_pipeline.models.network_cache import opened_cut_before_relu, opened_network
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.numerics.tuning import Map
from atlas_pipeline.tables.artefact_cache import once_per_artefact
from atlas_pipeline.tables.columns import column_matrix

if TYPE_CHECKING:
    from atlas_pipeline.inversion.centre_values import CentreValues

# The name of the folder, in place of a view.
TUNING = "tuning"
NO_FAMILY = -1
# Members that the figure of a family shows one by one.
MOST_MEMBERS = 12

FAMILY_TABLE = pa.schema(
    [
        ("unit", pa.int32()),
        ("family", pa.int32()),
        ("orientation", pa.float32()),
        ("rotation", pa.int16()),
        ("agreement", pa.float32()),
        ("oriented_share", pa.float32()),
        ("swing", pa.float32()),
        ("condition", pa.int32()),
        ("best_orientation", pa.float32()),
        ("best_response", pa.float32()),
        ("is_dead", pa.bool_()),
    ]
)


def stimulus_set(config: Mapping[str, Any]) -> StimulusSet:
    """The stimuli of a config with the keys of `StimulusSet`."""
    return StimulusSet(
        num_orientations=config["num_orientations"],
        curvatures=tuple(config["curvatures"]),
        corner_radii=tuple(config["corner_radii"]),
        stroke_width=config["stroke_width"],
    )


@once_per_artefact(keep=2)
def maps_of(responses: Artefact) -> Map:
    """(U, O, C) float64, in standard deviations of each unit."""
    values = column_matrix(responses.read(["response"]), "response").astype(np.float64)
    return values.T.reshape(values.shape[1], responses.config["stimuli"]["num_orientations"], -1)


def opened_centre(spec: ModelSpec, layer: str, device: str) -> CentreValues:
    """The values of a layer's units, before their ReLUs, at the centre of the network's own images."""
    from atlas_pipeline.inversion.centre_values import CentreValues

    side_px = opened_network(spec, device).preprocess.crop
    return CentreValues(opened_cut_before_relu(spec, layer, device), side_px, device)


def condition_name(of: StimulusSet, condition: int) -> str:
    """A condition in words.

    >>> few = StimulusSet(num_orientations=8, curvatures=(0, 2), corner_radii=(), stroke_width=0.3)
    >>> condition_name(few, 9)
    'curve 2, stroke, dark on light'
    """
    shape, look = divmod(condition, len(of.looks))
    return f"{of.shapes[shape].name}, {of.looks[look].name}"


@dataclass(frozen=True, slots=True, eq=False)
class KnownFamily:
    """A family as it is stored.

    members, orientation, rotation, agreement: (member,), see `numerics.tuning.Family`, as units of the layer.
    """

    number: int
    members: np.ndarray
    orientation: np.ndarray
    rotation: np.ndarray
    agreement: np.ndarray
    condition: int
    period: int

    def joint(self, maps: Map) -> Map:
        """(O, C): the mean map of the members, each turned so that it prefers orientation 0."""
        return np.mean(
            [np.roll(maps[u], -k, axis=0) for u, k in zip(self.members, self.rotation, strict=True)], axis=0
        )


def known_families(families: Artefact) -> list[KnownFamily]:
    """All families of a layer, the largest first; members in the order of their orientation."""
    table = families.read(["unit", "family", "orientation", "rotation", "agreement"])
    columns = {name: table[name].to_numpy() for name in table.column_names}
    found = []
    for number, facts in enumerate(families.notes["families"]):
        rows = np.flatnonzero(columns["family"] == number)
        rows = rows[np.lexsort((rows, columns["orientation"][rows]))]
        found.append(
            KnownFamily(
                number=number,
                members=columns["unit"][rows],
                orientation=columns["orientation"][rows].astype(np.float64),
                rotation=columns["rotation"][rows].astype(np.int64),
                agreement=columns["agreement"][rows],
                condition=facts["condition"],
                period=facts["period"],
            )
        )
    return found


def shown_families(families: Artefact, num: int, only: Sequence[int]) -> list[KnownFamily]:
    """The families that get a figure: those of the units ``only``; if it is empty, the ``num`` largest."""
    known = known_families(families)
    if not only:
        return known[:num]
    return [family for family in known if np.isin(only, family.members).any()]


@dataclass(frozen=True, slots=True)
class Patch:
    """A real patch that drives a member. position: row and column in the layer's map. png: None: private."""

    image_id: int
    position: tuple[int, int]
    png: bytes | None


def first_patches(patches: Artefact, family: KnownFamily) -> dict[int, Patch]:
    """The strongest real patch of each member that has one, by the member's place in the family."""
    table = patches.read(["family", "unit", "image_id", "row", "col", "patch"])
    place = {unit: at for at, unit in enumerate(family.members.tolist())}
    found: dict[int, Patch] = {}
    for row in table.to_pylist():
        if row["family"] == family.number:
            patch = Patch(row["image_id"], (row["row"], row["col"]), row["patch"])
            found.setdefault(place[row["unit"]], patch)
    return found


def shown_members(family: KnownFamily, first: Mapping[int, Patch]) -> list[int]:
    """The members that a figure shows one by one, evenly over the family.

    They are taken from those with a patch, if these are enough.
    """
    among = sorted(first) if len(first) >= MOST_MEMBERS else list(range(len(family.members)))
    num = min(len(among), MOST_MEMBERS)
    return [among[number * len(among) // num] for number in range(num)]


@dataclass(frozen=True, slots=True, eq=False)
class RealResponses:
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


def real_responses(patches: Artefact, family: KnownFamily, num_orientations: int) -> RealResponses:
    """The responses of a family's members to its turned real patches."""
    rows = [row for row in patches.read().to_pylist() if row["family"] == family.number]
    response = np.array([row["response"] for row in rows], np.float64)
    members = family.members.tolist()
    return RealResponses(
        owner=np.array([members.index(row["unit"]) for row in rows], np.int64),
        response=response.reshape(len(rows), num_orientations, len(members)),
        pictures=[row["patch"] for row in rows],
    )


def turned_mean(curves: Map, family: KnownFamily) -> np.ndarray:
    """(orientation,): the mean of the members' curves, each turned so that it prefers 0."""
    return np.mean([np.roll(c, -k) for c, k in zip(curves, family.rotation, strict=True)], axis=0)


def family_tasks(shown: Sequence[KnownFamily]) -> list[Task]:
    """A task for each family. A layer without one has one task, with nothing to do."""
    return [{"family": number} for number in range(max(1, len(shown)))]


def units_only(config: Config, layer: str) -> tuple[int, ...]:
    """The units of a layer that ``tuning.only`` names, in order."""
    assert config.tuning is not None
    named = (unit.rpartition(":") for unit in config.tuning.only)
    return tuple(sorted({int(number) for of_layer, _, number in named if of_layer == layer}))


def shown_layers(config: Config) -> tuple[str, ...]:
    """The layers whose families get figures."""
    assert config.tuning is not None
    layers = config.tuning_layers
    return tuple(layer for layer in layers if not config.tuning.only or units_only(config, layer))
