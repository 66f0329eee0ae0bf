"""How far apart two layouts have the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Keeps this draw apart from other draws with the run's seed.
_STREAM = 0xA11


def layout_alignment(
    layout: NDArray[np.floating], other: NDArray[np.floating], seed: int
) -> dict[str, float | None]:
    """Distances between the places of the same images in two layouts.

    Args:    layout, other: (image, 2), row by row of the same image, in the same box. seed: of the pairs that
             chance is measured by.
    Returns: ``alignment``, their median; ``alignment_mean``; and ``alignment_chance``, the median were the
             images of one layout shuffled. In the layouts' unit; None without images.
    """
    if not len(layout):
        return {"alignment": None, "alignment_mean": None, "alignment_chance": None}
    shuffled = np.random.default_rng([seed, _STREAM]).permutation(len(other))
    apart, by_chance = _distances(layout, other), _distances(layout, other[shuffled])
    return {
        "alignment": float(np.median(apart)),
        "alignment_mean": float(apart.mean()),
        "alignment_chance": float(np.median(by_chance)),
    }


def _distances(layout: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.linalg.norm(layout.astype(np.float64) - other, axis=1)
