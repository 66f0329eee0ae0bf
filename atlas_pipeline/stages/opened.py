"""A process opens a network once, however many tasks use it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_pipeline.config import Config
from atlas_pipeline.models.spec import ModelSpec, file_digest, model_identity

if TYPE_CHECKING:
    from torch import nn

    from atlas_pipeline.models import Network


def model_spec(config: Config) -> ModelSpec:
    """How to open the network of a run: picklable, and never fingerprinted."""
    model = config.model
    overrides = model.preprocess.model_dump(exclude_none=True) if model.preprocess else None
    return ModelSpec(
        source=model.source,
        name=model.name,
        weights=model.weights,
        weights_key=model.weights_key,
        labels=model.labels,
        preprocess=overrides,
        seed=config.seed,
    )


def model_config(config: Config) -> Mapping[str, Any]:
    """What of the network affects results: fingerprinted."""
    return model_identity(model_spec(config))


def taken_weights(config: Config) -> str | None:
    """A line where a weights file holds several sets and the config does not choose; None elsewhere."""
    key = model_config(config)["weights"].get("key")
    if key is None or config.model.weights_key is not None:
        return None
    return (
        f"{Path(str(config.model.weights)).name} holds raw weights and averaged ones (EMA): those of "
        f"'{key}' are taken, as for evaluation; model.weights_key names others"
    )


def labels_digest(config: Config) -> str | None:
    """What identifies the file of class labels; None where the labels are the model's own."""
    return file_digest(Path(config.model.labels).expanduser()) if config.model.labels else None


@lru_cache(maxsize=1)
def _open(key: str, device: str) -> Network:
    from atlas_pipeline.models import open_network

    return open_network(pickle.loads(bytes.fromhex(key))).to(device)


def opened_network(spec: ModelSpec, device: str) -> Network:
    """The network of ``spec`` on ``device``; the second call of a process returns the first one's."""
    # A spec may hold a mapping, which cannot be hashed; its pickle can.
    return _open(pickle.dumps(spec).hex(), device)


@lru_cache(maxsize=2)
def _cut(network: Network, layer: str) -> nn.Module:
    from atlas_pipeline.models.cut import cut

    return cut(network, layer)


def opened_cut(spec: ModelSpec, layer: str, device: str) -> nn.Module:
    """The network cut at ``layer``: images in [0, 1] -> feature map; opened once a process."""
    return _cut(opened_network(spec, device), layer)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a position of a layer sees of an image: square sides in pixels, the map's rows and columns."""

    image_px: int
    field_px: int
    map_size: tuple[int, int]


@lru_cache(maxsize=4)
def _sight(network: Network, layer: str) -> Sight:
    from atlas_pipeline.models.receptive_field import map_sizes, receptive_fields

    image_px = network.preprocess.crop
    _, height, width = map_sizes(network, image_px)[layer]
    field_px = receptive_fields(network, [layer], image_px)[layer] or image_px
    return Sight(image_px, min(field_px, image_px), (height, width))


def sight_of(spec: ModelSpec, layer: str, device: str) -> Sight:
    """The sight of ``layer``, measured once a process; the whole image where it cannot be."""
    return _sight(opened_network(spec, device), layer)
