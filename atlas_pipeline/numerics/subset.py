"""Uniform random subsets; a larger subset contains the smaller ones of the same seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_subset(num_available: int, num_wanted: int | None, seed: int, stream: int) -> NDArray[np.int64]:
    """Positions of a uniform random subset of ``num_available`` items, sorted; None or too many: all items.

    Every position gets a 64-bit random number, and the ``num_wanted`` smallest are selected. A larger subset
    with the same seed and stream therefore contains the smaller one. Only the raw output of a bit generator
    is used, because NumPy guarantees that it never changes. ``stream`` separates draws for different
    purposes.
    """
    if num_wanted is None or num_wanted >= num_available:
        return np.arange(num_available)
    draws = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(num_available)
    return np.sort(np.argsort(draws, kind="stable")[:num_wanted])
