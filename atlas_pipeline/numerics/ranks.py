"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Rank correlation of two columns, equals sharing their mean rank; None where one of them is constant."""
    left, right = (ranks - ranks.mean() for ranks in (_ranks(a), _ranks(b)))
    scale = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / scale) if scale > 0 else None


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[which]
