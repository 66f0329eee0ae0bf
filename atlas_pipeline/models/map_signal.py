"""Evidence for a reading of a layer's output: whether the probe's changes appear where they should.

For every position we compute which of the changed places affects it most. Deep positions see the whole image
and respond almost equally to all places, so responses are compared with each other. In the right reading, the
place that a position responds to moves down with its row and right with its column. If its axes are windows,
heads or channels, it does not. K = changed images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.models.map_probe import LATTICE, PLACES

# Positions must differ in their responses by this fraction of the image's side; less is rounding.
MIN_STRENGTH = 1e-3
# Right readings of layers that see the whole image have correlations from 0.5; wrong ones are below 0.3 on
# one axis (measured on several dozen architectures with random weights).
MIN_CORRELATION = 0.4
MIN_SLOPE_RATIO = 0.3
MIN_PLACES = 6
# Channels that respond to places rather than to content are windows or tokens.
CHANNELS_STRENGTH = 0.2
ARE_WINDOWS = "its channels are places"
TINY = 1e-300
COSINE_EPSILON = 1e-8
Values = NDArray[np.float64]
CLEAR_PLACES = 7
CLEAR_CORRELATION = 0.7
CLEAR_STRENGTH = 0.02
# With random weights, small maps that see the whole image reach strengths up to 0.04 by chance.
CONTRADICTING_STRENGTH = 0.05
CONTRADICTING_CORRELATION = 0.3
CONTRADICTING_PLACES = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """The probe's finding on one reading of one layer.

    num_places: how many of ``PLACES`` move the map's response towards them when changed. strength: how far
    positions differ in their responses, as a fraction of the image's side; at most about 0.4. correlation:
    between responses and positions, on the axis and at the resolution where it is lowest. why: the reason why
    the probe cannot tell.
    """

    verdict: Literal["shown", "contradicted", "untold"]
    num_places: int = 0
    strength: float = 0.0
    correlation: float = 0.0
    why: str = ""

    @property
    def is_clear(self) -> bool:
        """Whether it is strong enough for a reading that the shape does not suggest.

        A network has thousands of wrong readings, and some would pass a weaker test by chance.
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
    """Judge a reading by the change of its map.

    Args: change: (K, rows, columns), how much each position changed for each of ``PLACES``; further images
          are ignored. channels: (K, C), how much each channel changed. If the channels turn out to be places,
          the reading is contradicted.
    """
    change = change[: len(PLACES)].double()
    if min(change.shape[1:]) < 2:
        return Evidence("untold", why="a single row or column")
    # NumPy from here on: a network has hundreds of readings, and torch takes longer for so few values.
    changed = change.numpy()
    if not (changed.max((1, 2)) > 0).all():
        return Evidence("untold", why="no change of the image shows in it")
    cells = F.adaptive_avg_pool2d(change[None], LATTICE)[0].numpy()
    cells = cells / cells.mean((1, 2), keepdims=True)
    weight = cells.sum(0)
    shares = cells / np.maximum(weight, TINY)
    rows, columns = np.broadcast_arrays(LINES[:, None], LINES)
    fits = [_fit(shares, weight, position, axis) for axis, position in enumerate((rows, columns))]
    strength = sum(fit.spread for fit in fits) ** 0.5
    correlation = min(fit.correlation for fit in fits)
    slopes = sorted(fit.slope for fit in fits)
    num_places = _num_places(shares, weight)
    # Neighbouring channels respond independently; neighbouring rows or columns respond alike.
    finest = min(correlation, *(_line_correlation(changed, axis) for axis in (0, 1)))
    untold = Evidence("untold", num_places, strength, finest, "every position answers nearly alike")
    if strength < MIN_STRENGTH:
        untold = replace(untold, why="every position answers alike")
    elif (
        correlation >= MIN_CORRELATION
        and slopes[0] >= MIN_SLOPE_RATIO * slopes[1]
        and num_places >= MIN_PLACES
    ):
        return replace(untold, verdict="shown", why="")
    if channels is not None and _strength(channels) > max(CHANNELS_STRENGTH, 2 * strength):
        return replace(untold, verdict="contradicted", why=ARE_WINDOWS)
    is_wrong = correlation < CONTRADICTING_CORRELATION or num_places <= CONTRADICTING_PLACES
    if strength >= CONTRADICTING_STRENGTH and is_wrong:
        return replace(untold, verdict="contradicted", why="")
    return untold


def interval_centres(num_lines: int) -> Values:
    """The centres of ``num_lines`` equal intervals across an image, from -0.5 to 0.5."""
    return (np.arange(num_lines) + 0.5) / num_lines - 0.5


LINES = interval_centres(LATTICE)
# The row and the column of every place, from -0.5 to 0.5: (K, 2).
CENTRES = LINES[np.array(PLACES)]


@dataclass(frozen=True, slots=True)
class _Fit:
    """Regression of responses on positions along one axis. spread: variance of the responses."""

    slope: float
    correlation: float
    spread: float


def _fit(shares: Values, weight: Values, positions: Values, axis: int) -> _Fit:
    """Regress the places that positions respond to on the positions themselves.

    Args: shares: (K, ...), each place's share in a position's change. weight, positions: (...).
    """
    answers = np.tensordot(CENTRES[:, axis], shares, axes=1)
    weight = weight / weight.sum()
    positions, answers = positions - (weight * positions).sum(), answers - (weight * answers).sum()
    covariance = float((weight * positions * answers).sum())
    position_variance = float((weight * positions**2).sum())
    answer_variance = float((weight * answers**2).sum())
    return _Fit(
        covariance / max(position_variance, TINY),
        covariance / max((position_variance * answer_variance) ** 0.5, TINY),
        answer_variance,
    )


def _strength(channels: Tensor) -> float:
    """How far the channels (K, C) differ in the places that they respond to."""
    change = channels[: len(PLACES)].double().numpy()
    change = change / np.maximum(change.mean(1, keepdims=True), TINY)
    weight = change.sum(0)
    shares = change / np.maximum(weight, TINY)
    positions = np.arange(len(weight), dtype=np.float64)
    return sum(_fit(shares, weight, positions, axis).spread for axis in (0, 1)) ** 0.5


def _line_correlation(change: Values, axis: int) -> float:
    """The correlation on one axis between whole lines and their responses, at full resolution."""
    lines = change.mean(2 - axis)
    lines = lines / lines.mean(1, keepdims=True)
    weight = lines.sum(0)
    return _fit(lines / np.maximum(weight, TINY), weight, interval_centres(len(weight)), axis).correlation


def _num_places(shares: Values, weight: Values) -> int:
    """Number of places towards which the centre of the map's response moves, within 45 degrees."""
    shares = shares * (weight > 1e-3 * weight.max())
    total = np.maximum(shares.sum((1, 2)), TINY)
    centres = np.stack([(shares.sum(2) @ LINES) / total, (shares.sum(1) @ LINES) / total], axis=1)
    moved, towards = centres - centres.mean(0), CENTRES - CENTRES.mean(0)
    lengths = np.linalg.norm(moved, axis=1) * np.linalg.norm(towards, axis=1)
    cosines = (moved * towards).sum(1) / np.maximum(lengths, COSINE_EPSILON)
    return int((cosines > 0.5**0.5).sum())
