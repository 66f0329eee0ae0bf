"""How the steps of a picture given by path read it, and how they open the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.images.given_pictures import GivenPicture, read_picture
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.tables.columns import column_matrix

if TYPE_CHECKING:
    import torch

    from atlas_pipeline.models import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSettings:
    """Settings of a step, never part of its fingerprint. lines: what the reader of its results must know."""

    model: ModelSpec
    picture: GivenPicture
    lines: tuple[str, ...] = ()


def network_and_image(settings: GivenSettings, device: str) -> tuple[Network, torch.Tensor]:
    """The network on the device, and the picture (1, 3, side, side) uint8 there.

    Raises: ImagesError: the picture is gone, or has changed since the command began.
    """
    import torch

    network = opened_network(settings.model, device)
    pixels = read_picture(settings.picture.path, settings.picture.digest, network.preprocess)
    return network, torch.tensor(np.ascontiguousarray(pixels))[None].to(device)


@dataclass(frozen=True, slots=True, eq=False)
class GivenMap:
    """A picture's activations in a layer. activations: (position, channel), row by row."""

    activations: np.ndarray
    height: int
    width: int

    @property
    def is_single(self) -> bool:
        """Whether the layer has one position alone, so that places within the picture mean nothing."""
        return self.height * self.width == 1


def given_map(artefact: Artefact) -> GivenMap:
    """Read an artefact of ``picture_map``."""
    notes: Mapping[str, int] = artefact.notes
    activations = column_matrix(artefact.read(["activation"]), "activation")
    return GivenMap(activations, notes["height"], notes["width"])
