"""The work of `atlas layers`: a network's layers, and those that suit an atlas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_pipeline.errors import counted
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.models.network_name import network_name, weights_note
from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from atlas_pipeline.models import LayerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerList:
    """Layers in the order in which they run. num_all: of the network's layers that have a map."""

    title: str
    infos: tuple[LayerInfo, ...]
    proposed: tuple[str, ...]
    num_all: int


def layer_list(spec: ModelSpec, *, is_all: bool, say: Callable[[str], None]) -> LayerList:
    """List the ends of a network's blocks, or all its layers with a spatial map.

    Args:   is_all: list all. say: receives a line when the slow part begins.
    Raises: ModelError: the network cannot be opened.
    """
    from atlas_pipeline.models import list_layers
    from atlas_pipeline.models.block_ends import block_ends, proposed_layers

    network = opened_network(spec, "cpu")
    maps = [name for name, run in network.runs.items() if run.is_map]
    ends = block_ends(network)
    listed = maps if is_all else ends
    say(f"measuring the receptive fields of {counted(len(listed), 'layer')} ...")
    infos = list_layers(network, names=listed)
    return LayerList(
        title=network_title(spec),
        infos=tuple(infos),
        proposed=tuple(proposed_layers([info for info in infos if info.name in ends])),
        num_all=len(maps),
    )


def network_title(spec: ModelSpec) -> str:
    """A network's name and the origin of its weights, for people."""
    return f"{network_name(spec.source, spec.name)}, {weights_note(model_identity(spec))}"
