"""A uniform random subset that grows with the number asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_subset(num_available: int, num_wanted: int | None, seed: int, stream: int) -> NDArray[np.int64]:
    """Positions of a uniform random subset of ``num_available`` things, sorted; None or too many: all.

    Every position draws a 64-bit number, and the ``num_wanted`` smallest win: of one seed and stream a larger
    subset holds the smaller. Only the raw stream of a bit generator is used: NumPy promises that it never
    changes. ``stream`` keeps draws for different ends apart.
    """
    if num_wanted is None or num_wanted >= num_available:
        return np.arange(num_available)
    draws = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(num_available)
    return np.sort(np.argsort(draws, kind="stable")[:num_wanted])
