"""Objective of a direction v: log(h.v) + n log cos(h, v), with h the activation at the map's centre.

This is the logarithm of the article's (h.v)^(n+1) / (|h| |v|)^n. With the logarithm, icons of weak and of
strong directions learn at the same rate. Here cos(h, v) is the true cosine. Either part can be used
alone. With whitening w, h and v are first mapped by the precision to the power w / 2.
B = icon, K = channel.
Source: Carter et al., "Activation Atlas" (Distill 2019), feature visualization of averaged activations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Below this value the logarithm continues as its tangent: h.v may be 0 or negative at the start.
_FLOOR = 0.05
_TINY = 1e-12


def centre_position(height: int, width: int) -> tuple[int, int]:
    """Row and column of a feature map's centre; for an even size, the first position of the second half.

    The objective, the evaluation of finished icons and their fidelity all use this definition.

    >>> centre_position(7, 8)
    (3, 4)
    """
    return height // 2, width // 2


def centre_activation(feature_map: Tensor) -> Tensor:
    """Activation (B, K) at the centre of a feature map (B, K, height, width).

    >>> centre_activation(torch.arange(18.0).view(1, 2, 3, 3))
    tensor([[ 4., 13.]])
    """
    row, col = centre_position(feature_map.shape[-2], feature_map.shape[-1])
    return feature_map[:, :, row, col]


def metric_root(precision: Tensor, whitening: float = 1.0) -> Tensor:
    """Matrix R with R R^T = P^w: (h R) . (v R) = h P^w v, so plain cosines become whitened ones.

    Args:    precision: P, (K, K), symmetric, positive semi-definite. whitening: w, in [0, 1].
    Returns: (K, K) float32.
    Raises:  ValueError: not square, not finite, or with a clearly negative eigenvalue.
    """
    if precision.ndim != 2 or precision.shape[0] != precision.shape[1]:
        raise ValueError(f"precision has shape {tuple(precision.shape)}; it must be (channel, channel)")
    if not torch.isfinite(precision).all():
        raise ValueError("precision has values that are not finite; raise the ridge of its inverse")
    values, vectors = torch.linalg.eigh(precision.double())
    if values[0] < -1e-6 * values[-1].abs() or values[-1] <= 0:
        raise ValueError("precision is not positive semi-definite; it must be the inverse of a second moment")
    return (vectors * values.clamp(min=0) ** (whitening / 2)).float()


class Goals:
    """Directions to score activations against, with everything that stays equal from step to step.

    Args: directions: (N, K), none zero, in the metric's coordinates.
          kind: "cosine_power": log(h.v / v.v) + power * log cos(h, v); "cosine": log cos(h, v);
          "dot": log(h.v / v.v).
    """

    def __init__(self, directions: Tensor, kind: str, power: float) -> None:
        self.directions = directions
        squared = directions.square().sum(1)
        # (N, 2): v.v, and the least value of (h.h)(v.v).
        self._squared = torch.stack([squared, _TINY * squared.square()], dim=1)
        weights = {"cosine_power": (1.0, power), "cosine": (0.0, 1.0), "dot": (1.0, 0.0)}[kind]
        # (2, 1): weights of the two logarithms.
        self._weights = torch.tensor(weights, dtype=directions.dtype, device=directions.device)[:, None]

    def scores(self, activations: Tensor, which: Tensor) -> Tensor:
        """Score of each activation h (B, K) against its direction; finite for every finite h.

        It is differentiable once, with respect to the activations.

        Args:    which: (B,) int64, rows of the directions.
        Returns: (B,).
        """
        return _Score.apply(activations, self.directions[which], self._squared[which], self._weights)


class _Score(torch.autograd.Function):
    """The score of `Goals`, with its gradient written out: half the operations of an automatic one.

    (2, B): the projection h.v / v.v and the cosine.
    """

    @staticmethod
    def forward(
        ctx: Any, activations: Tensor, directions: Tensor, squared: Tensor, weights: Tensor
    ) -> Tensor:
        of_direction, least = squared.unbind(1)
        dot = (activations * directions).sum(1)
        product = activations.square().sum(1) * of_direction
        # Clamp the root's argument above 0: its slope is infinite at 0.
        lengths = torch.stack([of_direction, product.clamp(min=least).sqrt()])
        values = dot / lengths
        clamped = values.clamp(min=_FLOOR)
        # Above the floor the logarithm; below it the tangent, which stays finite and keeps a slope.
        logs = torch.where(values > _FLOOR, clamped.log(), values / _FLOOR - 1.0 + math.log(_FLOOR))
        ctx.save_for_backward(activations, directions, of_direction, lengths, values, clamped, weights)
        ctx.is_clamped = product < least
        return (weights * logs).sum(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        activations, directions, of_direction, lengths, values, clamped, weights = ctx.saved_tensors
        # The logarithm and its tangent have the slope 1 / max(value, floor).
        of_values = weights * gradients[0] / clamped
        of_dot = (of_values / lengths).sum(0)
        of_length = of_values[1] * (values[1] / lengths[1]) / lengths[1]
        of_length = of_length.masked_fill(ctx.is_clamped, 0.0) * of_direction
        return of_dot[:, None] * directions - of_length[:, None] * activations, None, None, None


def direction_score(activations: Tensor, directions: Tensor, kind: str, power: float) -> Tensor:
    """Score of each activation (B, K) against its own direction (B, K), as `Goals.scores`. Returns: (B,)."""
    goals = Goals(directions, kind, power)
    return goals.scores(activations, torch.arange(len(directions), device=directions.device))
