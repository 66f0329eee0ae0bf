"""Where in an image its activations are taken: drawn per (seed, image), never per batch.

A *relative* place is shared by all layers, so that one patch can be found in every layer's atlas.
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
    """Random places in images, as shares of height and width.

    A pure function of (seed, image id, position index): batches, their order and the number of
    positions asked for do not matter. The first place of an image is uniform; the next ones follow it
    on the R2 sequence. Each is uniform taken by itself, and they keep apart, so that one spatial
    position rarely comes twice from one image; on a map with few inner positions it still can.

    Args:    seed: any integer; its lowest 64 bits count. image_ids: (image,), integers.
             positions_per_image: at least 0.
    Returns: (image, position, 2) in [0, 1): down the rows, along the columns.
    Source:  SplitMix64 (Steele, Lea and Flood 2014), used as a hash of the counter.
    """
    ids = np.asarray(image_ids).astype(np.int64).view(np.uint64)
    state = _mix(_mix(np.array([seed & _UINT64], np.uint64)) ^ ids)
    first = np.stack([_unit(_mix(state + axis * _GOLDEN)) for axis in np.arange(2, dtype=np.uint64)], axis=-1)
    steps = np.arange(positions_per_image)[:, None] * _R2_STEP
    return (first[:, None, :] + steps) % 1.0


def effective_edge(height: int, width: int, edge: int) -> tuple[int, int]:
    """The border left out above and below, left and right: ``edge``, or 0 where it would leave nothing."""
    return (edge if height - 2 * edge >= 1 else 0), (edge if width - 2 * edge >= 1 else 0)


def spatial_positions(relative: NDArray[np.float64], height: int, width: int, edge: int) -> NDArray[np.int16]:
    """Spatial positions of one feature map under relative places: uniform, both edges left out.

    Args:    relative: (image, position, 2) in [0, 1). height, width: of the map, positions.
             edge: positions left out on every side (see ``effective_edge``).
    Returns: (image, position, 2) row, col.
    """
    border = np.array(effective_edge(height, width, edge))
    inner = np.array([height, width]) - 2 * border
    # The product of a number just below 1 may round up to ``inner``.
    inside = np.minimum(np.floor(relative * inner), inner - 1)
    return (border + inside).astype(np.int16)


def _mix(counter: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's step and finaliser; arrays, because numpy's wrap-around is silent for arrays only."""
    z = counter + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def _unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The highest 53 bits as a number in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
