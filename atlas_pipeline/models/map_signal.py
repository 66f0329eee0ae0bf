"""Whether what the probe saw lies where it should in a map: the evidence for a reading of a layer's output.

Every position is asked which of the changed places moves it most. Deep positions see the whole image, and
answer all places alike but for a little: so the answers are taken relative to each other. In the right
reading the place that a position answers to moves down with its row and right with its column; in one whose
axes are windows, heads or channels it does not. K = changed images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from atlas_pipeline.models.map_probe import LATTICE, PLACES

# How far positions must differ in what they answer to, as a share of the image's side: less is rounding.
MEASURABLE = 1e-3
# Right readings of layers that every position of the image reaches have correlations from 0.5, mixed-up
# ones below 0.3 in one of the axes (several dozen architectures, random weights).
LEAST_CORRELATION = 0.4
LEAST_RATIO = 0.3
LEAST_PLACES = 6
# Channels that answer to places, and not to what is there, are windows or tokens.
CHANNELS_STRENGTH = 0.2
ARE_WINDOWS = "its channels are places"
TINY = 1e-300
CLEAR_PLACES = 7
CLEAR_CORRELATION = 0.7
CLEAR_STRENGTH = 0.02
# Chance alone gives small maps that see the whole image, with random weights, strengths up to 0.04.
CONTRADICTING_STRENGTH = 0.05
CONTRADICTING_CORRELATION = 0.3
CONTRADICTING_PLACES = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """The probe's finding on one reading of one layer.

    num_places: of ``PLACES``, those whose change moves the map's answer towards them. strength: how far
    positions differ in what they answer to, as a share of the image's side: below 0.4 or so. correlation: of
    that with where they lie, on the axis and at the resolution where it is lowest. why: it cannot be told.
    """

    verdict: Literal["shown", "contradicted", "untold"]
    num_places: int = 0
    strength: float = 0.0
    correlation: float = 0.0
    why: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether it carries a reading that the shape does not suggest.

        Among the thousands of wrong readings in a network some would pass a weaker test by chance.
        """
        return (
            self.verdict == "shown"
            and self.num_places >= CLEAR_PLACES
            and self.correlation >= CLEAR_CORRELATION
            and self.strength >= CLEAR_STRENGTH
        )

    def __str__(self) -> str:
        if self.verdict == "untold":
            return f"cannot be told: {self.why}"
        places = f"at {self.num_places} of {len(PLACES)} places"
        return (
            f"shows where it should {places}"
            if self.verdict == "shown"
            else f"shows where it should only {places}"
        )


def evidence(change: Tensor, channels: Tensor | None = None) -> Evidence:
    """What a map's change says of it.

    Args: change: (K, rows, columns), how much each position changed, for each of ``PLACES`` (or more images,
          which are ignored). channels: (K, C), how much each channel did: channels that are places deny it.
    """
    change = change[: len(PLACES)]
    if min(change.shape[1:]) < 2:
        return Evidence("untold", why="a single row or column")
    if not bool((change.amax((1, 2)) > 0).all()):
        return Evidence("untold", why="no change of the image shows in it")
    cells = F.adaptive_avg_pool2d(change.double()[None], LATTICE)[0]
    cells = cells / cells.mean((1, 2), keepdim=True)
    weight = cells.sum(0)
    shares = cells / weight.clamp(min=TINY)
    lines = middles(LATTICE)
    rows, columns = lines[:, None].expand(LATTICE, LATTICE), lines.expand(LATTICE, LATTICE)
    fits = [_fit(shares, weight, position, axis) for axis, position in enumerate((rows, columns))]
    strength = sum(fit.spread for fit in fits) ** 0.5
    correlation = min(fit.correlation for fit in fits)
    slopes = sorted(fit.slope for fit in fits)
    num_places = _num_places(shares, weight)
    # Channels next to each other answer each on its own, rows or columns nearly alike.
    finest = min(correlation, *(_line_correlation(change, axis) for axis in (0, 1)))
    of_places = Evidence("untold", num_places, strength, finest, "every position answers nearly alike")
    if strength < MEASURABLE:
        of_places = replace(of_places, why="every position answers alike")
    elif (
        correlation >= LEAST_CORRELATION
        and slopes[0] >= LEAST_RATIO * slopes[1]
        and num_places >= LEAST_PLACES
    ):
        return replace(of_places, verdict="shown", why="")
    if channels is not None and _strength(channels[: len(PLACES)]) > max(CHANNELS_STRENGTH, 2 * strength):
        return replace(of_places, verdict="contradicted", why=ARE_WINDOWS)
    is_wrong = correlation < CONTRADICTING_CORRELATION or num_places <= CONTRADICTING_PLACES
    if strength >= CONTRADICTING_STRENGTH and is_wrong:
        return replace(of_places, verdict="contradicted", why="")
    return of_places


def middles(num_lines: int) -> Tensor:
    """The middles of lines across an image, from -0.5 to 0.5."""
    return (torch.arange(num_lines, dtype=torch.float64) + 0.5) / num_lines - 0.5


@dataclass(frozen=True, slots=True)
class _Fit:
    """How what positions answer to goes with where they lie, on one axis. spread: of the answers, squared."""

    slope: float
    correlation: float
    spread: float


def _fit(shares: Tensor, weight: Tensor, positions: Tensor, axis: int) -> _Fit:
    """Args: shares: (K, ...), of each place in what moves a position. weight, positions: (...)."""
    places = middles(LATTICE)[torch.tensor(PLACES)[:, axis]]
    answers = torch.tensordot(places, shares, dims=1)
    weight = weight / weight.sum()
    positions, answers = positions - (weight * positions).sum(), answers - (weight * answers).sum()
    both = float((weight * positions * answers).sum())
    of_positions, of_answers = float((weight * positions**2).sum()), float((weight * answers**2).sum())
    return _Fit(
        both / max(of_positions, TINY), both / max((of_positions * of_answers) ** 0.5, TINY), of_answers
    )


def _strength(change: Tensor) -> float:
    """How far the entries of (K, entry) differ in what they answer to."""
    change = change.double() / change.double().mean(1, keepdim=True).clamp(min=TINY)
    weight = change.sum(0)
    shares = change / weight.clamp(min=TINY)
    return sum(_fit(shares, weight, torch.arange(len(weight)), axis).spread for axis in (0, 1)) ** 0.5


def _line_correlation(change: Tensor, axis: int) -> float:
    """The correlation on one axis of the whole lines' answers, however many there are."""
    lines = change.double().mean(2 - axis)
    lines = lines / lines.mean(1, keepdim=True)
    weight = lines.sum(0)
    return _fit(lines / weight.clamp(min=TINY), weight, middles(len(weight)), axis).correlation


def _num_places(shares: Tensor, weight: Tensor) -> int:
    """The places towards which the centre of the map's answer to them lies, within 45 degrees."""
    shares = shares * (weight > 1e-3 * weight.max())
    total = shares.sum((1, 2)).clamp(min=TINY)
    lines = middles(LATTICE)
    centres = torch.stack(
        [(shares.sum(2) * lines).sum(1) / total, (shares.sum(1) * lines).sum(1) / total], dim=1
    )
    towards = lines[torch.tensor(PLACES)]
    cosines = F.cosine_similarity(centres - centres.mean(0), towards - towards.mean(0), dim=1)
    return int((cosines > 0.5**0.5).sum())
