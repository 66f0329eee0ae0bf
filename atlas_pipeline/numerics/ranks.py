"""Spearman's rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Rank correlation of two columns, equals sharing their mean rank; None where one of them is constant."""
    # Imported here, since most commands need no ranks and the import takes a second.
    from scipy.stats import rankdata

    left, right = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
    scale = np.linalg.norm(left) * np.linalg.norm(right)
    return float(left @ right / scale) if scale > 0 else None
