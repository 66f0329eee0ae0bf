"""Objective of a direction v: log(h.v) + n log cos(h, v), with h the activation at the map's centre.

This is the logarithm of the article's (h.v)^(n+1) / (|h| |v|)^n. With the logarithm, icons of weak and of
strong directions learn at the same rate. Here cos(h, v) is the true cosine. Either part can be used
alone. In the whitened metric, h and v are first mapped by a square root of the precision.
B = icon, K = channel.
Source: Carter et al., "Activation Atlas" (Distill 2019), feature visualization of averaged activations.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Below these values the logarithm continues as its tangent: h.v may be 0 or negative at the start.
_PROJECTION_FLOOR = 0.05
_COSINE_FLOOR = 0.05
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


def metric_root(precision: Tensor) -> Tensor:
    """Matrix R with R R^T = P: (h R) . (v R) = h P v, so plain cosines become whitened ones.

    Args:    precision: (K, K), symmetric, positive semi-definite.
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
    return (vectors * values.clamp(min=0).sqrt()).float()


def _log_or_tangent(values: Tensor, floor: float) -> Tensor:
    """log above the floor; below it the tangent, which stays finite and keeps a slope."""
    line = values / floor - 1.0 + math.log(floor)
    return torch.where(values > floor, values.clamp(min=floor).log(), line)


def direction_score(activations: Tensor, directions: Tensor, kind: str, power: float) -> Tensor:
    """Score of each activation h against its direction v; finite for every finite h.

    Args:    activations: (B, K). directions: (B, K), none zero; both in the metric's coordinates.
             kind: "cosine_power": log(h.v / v.v) + power * log cos(h, v); "cosine": log cos(h, v);
             "dot": log(h.v / v.v).
    Returns: (B,).
    """
    dot = (activations * directions).sum(1)
    squared = directions.square().sum(1)
    strength = _log_or_tangent(dot / squared, _PROJECTION_FLOOR)
    if kind == "dot":
        return strength
    # Clamp the root's argument above 0: its slope is infinite at 0, which makes the gradient of a zero h NaN.
    lengths = torch.sqrt((activations.square().sum(1) * squared).clamp(min=_TINY * squared.square()))
    cosine = _log_or_tangent(dot / lengths, _COSINE_FLOOR)
    return cosine if kind == "cosine" else strength + power * cosine
