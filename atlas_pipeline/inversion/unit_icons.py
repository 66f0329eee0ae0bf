"""Icons of single units: at the map's centre or over the whole map, for and against, and a diverse set.

B = icon in a batch, N = number of icons, K = channel, P = position of the map, R = reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.inversion import batch_memory
from atlas_pipeline.inversion.canvas import to_network_input
from atlas_pipeline.inversion.loop import optimise, score
from atlas_pipeline.inversion.objectives import Channel, Neuron, Objective
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.inversion.vignette import Field, effective_field
from atlas_pipeline.inversion.visible_window import FeatureMap
from atlas_pipeline.models.arithmetic import ieee

SIGNS = {"neuron": 1.0, "negative": -1.0, "channel": 1.0, "channel_negative": -1.0}
_TINY = 1e-12


class CentreNeuron(Neuron):
    """A unit at the map's centre. Its vignette follows the field of the centre, as an atlas's icons do."""

    def field(self, size_px: int, device: torch.device) -> Field | None:
        return effective_field(self._network, size_px, device)


class DiverseNeuron(CentreNeuron):
    """A unit at the map's centre, with a penalty for likeness to icons that were made before.

    The score is value / strength - weight * mean likeness, see `likeness`. The icons of a set are made one
    after the other, each unlike those before it, so that an icon depends on no other icon of its batch.

    Args:   references: (N, R, K, P), standardised maps of the icons made before. strength: (N,), above 0, the
            value that counts as 1. mean, sd: (K,), by which maps are standardised.
    Source: Olah, Mordvintsev and Schubert, "Feature Visualization" (Distill 2017), its term for diversity,
            where all icons of a set are made at once.
    """

    def __init__(
        self,
        feature_map: FeatureMap,
        channels: Sequence[int],
        references: Tensor,
        strength: Tensor,
        weight: float,
        mean: Tensor,
        sd: Tensor,
    ) -> None:
        super().__init__(feature_map, channels)
        self._references, self._strength, self._weight = references, strength, weight
        self._mean, self._sd = mean, sd

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        maps = standardised(outputs, self._mean, self._sd)
        alike = likeness(maps[:, None], self._references[which]).mean(1)
        return super().scores(outputs, which) / self._strength[which] - self._weight * alike


def standardised(maps: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Maps (B, K, rows, columns) as (B, K, P), each channel in standard deviations from its mean."""
    return (maps.flatten(2) - mean[:, None]) / sd[:, None]


def likeness(one: Tensor, other: Tensor) -> Tensor:
    """Cosine between the Gram matrices of maps (..., K, P) over their positions: (...), in [0, 1].

    The scalar product of F F^T and G G^T is the squared norm of F^T G, which needs no matrix of K x K.

    >>> a, b = torch.eye(3)[:, :1], torch.eye(3)[:, 1:2]
    >>> likeness(a, 2 * a).item(), likeness(a, b).item()
    (1.0, 0.0)
    """

    def product(first: Tensor, second: Tensor) -> Tensor:
        return (first.transpose(-1, -2) @ second).square().sum((-1, -2))

    lengths = (product(one, one) * product(other, other)).clamp(min=_TINY).sqrt()
    return product(one, other) / lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIcons:
    """The icons of some units. images: (unit, S, S, P) uint8. values: (unit,), the value that each reaches.

    kind: ``neuron``, ``negative``, ``channel``, ``channel_negative``, or ``diverse-1`` and so on.
    """

    kind: str
    images: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitIconSettings:
    """The icons to make. kinds: see `UnitIcons`, with ``diverse`` for the whole set.

    num_diverse: size of the set, beside the neuron's icon. diversity: weight of the likeness.
    """

    kinds: Sequence[str]
    num_diverse: int
    diversity: float
    seed: int
    inversion: InversionSettings


def unit_icon_seed(seed: int, unit: int, kind: str) -> int:
    """The 63-bit seed of an icon; it depends on the run's seed, the unit and the kind alone."""
    digest = hashlib.blake2b(f"{seed}/unit/{unit}/{kind}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def unit_icons(
    feature_map: FeatureMap,
    units: Sequence[int],
    settings: UnitIconSettings,
    mean: Tensor,
    sd: Tensor,
    *,
    magnitude: Tensor | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    advance: Callable[[float], None] | None = None,
) -> Iterator[UnitIcons]:
    """Make the icons of units, kind by kind.

    Args:   feature_map: images (B, 3, S, S) in [0, 1] -> (B, K, rows, columns), the units' values before
            their ReLUs. mean, sd: (K,) of the units over the images; an sd of 0 counts as 1.
            The others: see `optimise`.
    Raises: as `optimise`.
    """

    def made(objective: Objective, kind: str) -> Tensor:
        seeds = [unit_icon_seed(settings.seed, unit, kind) for unit in units]
        return optimise(
            objective,
            seeds,
            settings.inversion,
            magnitude=magnitude,
            device=device,
            batch_size=batch_size,
            advance=advance,
        ).images

    kinds = [kind for kind in settings.kinds if kind != "diverse"]
    # The diverse set is unlike the neuron's icon, so that one is made in any case.
    if "diverse" in settings.kinds and "neuron" not in kinds:
        kinds = ["neuron", *kinds]
    neuron: UnitIcons | None = None
    for kind in kinds:
        goal = Channel if kind.startswith("channel") else CentreNeuron
        objective = goal(feature_map, units, signs=[SIGNS[kind]] * len(units))
        images = made(objective, kind)
        icons = UnitIcons(kind=kind, images=images, values=score(objective, images, device) * SIGNS[kind])
        neuron = icons if kind == "neuron" else neuron
        yield icons
    if "diverse" not in settings.kinds:
        return
    assert neuron is not None
    sd = torch.where(sd > 0, sd, torch.ones_like(sd)).float().to(device)
    mean = mean.float().to(device)
    strength = neuron.values.abs().clamp(min=_TINY).to(device)
    references = [_maps(feature_map, neuron.images, mean, sd, device)]
    for number in range(1, settings.num_diverse + 1):
        kind = f"diverse-{number}"
        objective = DiverseNeuron(
            feature_map, units, torch.stack(references, 1), strength, settings.diversity, mean, sd
        )
        images = made(objective, kind)
        references.append(_maps(feature_map, images, mean, sd, device))
        values = score(CentreNeuron(feature_map, units), images, device)
        yield UnitIcons(kind=kind, images=images, values=values)


def _maps(
    feature_map: FeatureMap, images: Tensor, mean: Tensor, sd: Tensor, device: str | torch.device
) -> Tensor:
    """Standardised maps (N, K, P) of finished icons, on the device."""

    def maps_of(which: Tensor) -> Tensor:
        return standardised(feature_map(to_network_input(images[which], torch.device(device))), mean, sd)

    with ieee(), torch.no_grad():
        return torch.cat(list(batch_memory.in_batches(maps_of, len(images), device))).to(device)
