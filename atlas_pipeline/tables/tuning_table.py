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
from atlas_pipeline.engine.stage import Artefact
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
