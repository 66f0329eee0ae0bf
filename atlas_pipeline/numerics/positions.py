"""Spatial positions at which an image's activations are sampled: drawn per (seed, image), never per batch.

All layers share the *relative* position, so that one patch can be found in the atlas of every layer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_UINT64 = (1 << 64) - 1

# Steps of the R2 sequence (Roberts 2018): 1/g and 1/g^2 with g^3 = g + 1.
_R2_STEP = np.array([0.7548776662466927, 0.5698402909980532])


def relative_positions(seed: int, image_ids: ArrayLike, positions_per_image: int = 1) -> NDArray[np.float64]:
    """Random positions in images, as shares of height and width.

    The result is a pure function of (seed, image id, position index), independent of batches, their order and
    the number of positions. The first position of an image is uniform; the next ones continue it along the R2
    sequence. Each position is uniform by itself, and they are spread out, so that an image rarely gives the
    same spatial position twice. On a map with few inner positions this can still happen.

    Args:    seed: any integer; only its lowest 64 bits are used. image_ids: (image,), integers.
             positions_per_image: at least 0.
    Returns: (image, position, 2) float64 in [0, 1): along the rows, along the columns.
    Source:  SplitMix64 (Steele, Lea and Flood 2014), used as a hash of the counter.
    """
    ids = np.asarray(image_ids).astype(np.int64).view(np.uint64)
    state = _mix(_mix(np.array([seed & _UINT64], np.uint64)) ^ ids)
    first = np.stack([_unit(_mix(state + axis * _GOLDEN)) for axis in np.arange(2, dtype=np.uint64)], axis=-1)
    steps = np.arange(positions_per_image)[:, None] * _R2_STEP
    return (first[:, None, :] + steps) % 1.0


def effective_edge(height: int, width: int, edge: int) -> tuple[int, int]:
    """Border left out at top and bottom, left and right: ``edge``, or 0 if no position would remain."""
    return (edge if height - 2 * edge >= 1 else 0), (edge if width - 2 * edge >= 1 else 0)


def spatial_positions(relative: NDArray[np.float64], height: int, width: int, edge: int) -> NDArray[np.int16]:
    """Spatial positions of one feature map for relative positions: uniform, without the border.

    Args:    relative: (image, position, 2) in [0, 1). height, width: of the map, in positions.
             edge: positions left out on every side (see ``effective_edge``).
    Returns: (image, position, 2) int16 row, col.
    """
    border = np.array(effective_edge(height, width, edge))
    inner = np.array([height, width]) - 2 * border
    # The product with a number just below 1 may round up to ``inner``.
    inside = np.minimum(np.floor(relative * inner), inner - 1)
    return (border + inside).astype(np.int16)


def _mix(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's step and finaliser. Pass arrays: numpy warns of overflow in scalars."""
    z = counter + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def _unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Convert the highest 53 bits to a number in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
