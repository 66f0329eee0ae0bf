"""A cache, so that a process opens a network once, however many tasks use it; it holds two networks."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from atlas_pipeline.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from atlas_pipeline.models import Network
    from atlas_pipeline.models.before_relu import ValueMaps


# Two: a run's network and its judge, which take turns. Each is held with its parameters: 28 MB for GoogLeNet.
@lru_cache(maxsize=2)
def _open(key: str, device: str) -> Network:
    from atlas_pipeline.errors import ResourceError
    from atlas_pipeline.models import open_network
    from atlas_pipeline.models.out_of_memory import is_out_of_memory

    network = open_network(pickle.loads(bytes.fromhex(key)))
    try:
        return network.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"network {network.name} does not fit the free memory of {device}; free some, or use --device cpu"
        ) from error


def opened_network(spec: ModelSpec, device: str) -> Network:
    """The network of ``spec`` on ``device``, opened once per process.

    Raises: ResourceError: the device lacks the memory for it.
    """
    # A spec may hold a mapping, which cannot be hashed; its pickle can.
    return _open(pickle.dumps(spec).hex(), device)


@lru_cache(maxsize=2)
def _cut(network: Network, layer: str) -> nn.Module:
    from atlas_pipeline.models.cut import cut

    return cut(network, layer)


def opened_cut(spec: ModelSpec, layer: str, device: str) -> nn.Module:
    """The network cut at ``layer``, images in [0, 1] -> feature map; opened once per process."""
    return _cut(opened_network(spec, device), layer)


@lru_cache(maxsize=2)
def _cut_before_relu(network: Network, layer: str) -> nn.Module:
    from atlas_pipeline.models.before_relu import cut_before_relu

    return cut_before_relu(network, layer)


def opened_cut_before_relu(spec: ModelSpec, layer: str, device: str) -> nn.Module:
    """`opened_cut`, with the values before the layer's ReLUs."""
    return _cut_before_relu(opened_network(spec, device), layer)


@lru_cache(maxsize=2)
def _values(network: Network, layers: tuple[str, ...]) -> ValueMaps:
    from atlas_pipeline.models.before_relu import value_maps

    return value_maps(network, layers)


def opened_values(spec: ModelSpec, layers: tuple[str, ...], device: str) -> ValueMaps:
    """The values of the units of layers, see `before_relu.value_maps`; made once per process."""
    return _values(opened_network(spec, device), layers)


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The receptive field of a layer's position: sides in pixels, and the map's rows and columns."""

    image_px: int
    field_px: int
    map_size: tuple[int, int]


@lru_cache(maxsize=4)
def _receptive_field(network: Network, layer: str) -> ReceptiveField:
    from atlas_pipeline.models.receptive_field import map_sizes, receptive_fields

    image_px = network.preprocess.crop
    _, height, width = map_sizes(network, image_px)[layer]
    field_px = receptive_fields(network, [layer], image_px)[layer] or image_px
    return ReceptiveField(image_px, min(field_px, image_px), (height, width))


def receptive_field_of(spec: ModelSpec, layer: str, device: str) -> ReceptiveField:
    """The receptive field of ``layer``, measured once per process.

    It is the whole image if it cannot be measured.
    """
    return _receptive_field(opened_network(spec, device), layer)
