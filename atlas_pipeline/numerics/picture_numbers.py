"""Numbers of one picture in one layer. P = positions, C = channels, K = classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def map_attribution(
    activations: NDArray[np.floating], gradients: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Attribution of positions and of channels to each class: activation times gradient, summed.

    Args:    activations: (P, C). gradients: (K, C, P).
    Returns: (K, P) and (K, C), which add up to the same number for each class.

    >>> positions, channels = map_attribution(np.array([[1.0, 2.0]]), np.array([[[3.0], [5.0]]]))
    >>> positions.tolist(), channels.tolist()
    ([[13.0]], [[3.0, 10.0]])
    """
    each = gradients.astype(np.float64) * activations.T.astype(np.float64)
    return each.sum(axis=1), each.sum(axis=2)


def units_above(
    activations: NDArray[np.floating], mean: NDArray[np.floating], sd: NDArray[np.floating], num: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The units that are farthest above their mean at each position, in standard deviations.

    Args:    activations: (P, C). mean, sd: (C,) over the layer's samples; a unit with an sd of 0 comes last.
    Returns: units (P, min(num, C)) from the strongest, of equal ones the first; their values in sd, the same
             shape, -inf for a unit that never varies.

    >>> units, above = units_above(np.array([[3.0, 3.0]]), np.array([1.0, 2.0]), np.array([2.0, 0.5]), 2)
    >>> units.tolist(), above.tolist()
    ([[1, 0]], [[2.0, 1.0]])
    """
    values = np.asarray(activations, dtype=np.float64)
    above = np.where(sd > 0, (values - mean) / np.where(sd > 0, sd, 1), -np.inf)
    units = np.argsort(-above, axis=1, kind="stable")[:, :num]
    return units, np.take_along_axis(above, units, axis=1)
