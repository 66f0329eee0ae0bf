"""How far apart the same images lie in two layouts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Separates this draw from other draws with the run's seed.
_STREAM = 0xA11


def layout_alignment(
    layout: NDArray[np.floating], other: NDArray[np.floating], seed: int
) -> dict[str, float | None]:
    """Distances between the positions of the same images in two layouts.

    Args:    layout, other: (image, 2), with the same image in each row and the same range. seed: of the
             shuffle that gives the chance level.
    Returns: ``alignment``, the median distance; ``alignment_mean``, the mean; and ``alignment_chance``, the
             median after shuffling the images of one layout. In the layouts' unit; None without images.
    """
    if not len(layout):
        return {"alignment": None, "alignment_mean": None, "alignment_chance": None}
    shuffled = np.random.default_rng([seed, _STREAM]).permutation(len(other))
    distances, chance_distances = _distances(layout, other), _distances(layout, other[shuffled])
    return {
        "alignment": float(np.median(distances)),
        "alignment_mean": float(distances.mean()),
        "alignment_chance": float(np.median(chance_distances)),
    }


def _distances(layout: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.linalg.norm(layout.astype(np.float64) - other, axis=1)
