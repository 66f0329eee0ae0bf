"""Pseudo-random keys of rows: ties broken by them reveal nothing about the order of the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def random_keys(numbers: NDArray[np.integer], seed: int = 0) -> NDArray[np.uint64]:
    """Hash each number to a unique pseudo-random key, which depends only on the number and the seed.

    Args:    numbers: any shape, at least 0.
    Returns: uint64 of the same shape.
    Source:  the finaliser of splitmix64 (Steele, Lea and Flood 2014), a bijection of 64 bits.
    """
    bits = numbers.astype(np.uint64) ^ np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
