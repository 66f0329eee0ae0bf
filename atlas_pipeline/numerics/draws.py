"""Numbers that stand for rows in a draw: ties that they decide tell nothing of the rows' order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn(numbers: NDArray[np.integer], seed: int = 0) -> NDArray[np.uint64]:
    """A pseudo-random number for each number, the same for the same number and seed; no two alike.

    Args:    numbers: any shape, at least 0.
    Returns: the same shape, uint64.
    Source:  the finaliser of splitmix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.
    """
    bits = numbers.astype(np.uint64) ^ np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
