"""The axis of a class comparison: for which of two classes does an activation speak, and how much."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def axis_scale(difference: ArrayLike) -> float:
    """What counts as wholly for one class: the 99th percentile of the differences' sizes.

    The largest would let one outlier press all others together in the middle.

    Args:    difference: (activation,) attribution to the right class minus that to the left, logits.
    Returns: logits, > 0; 1 where all differences are 0 or there are none.
    Source:  Carter et al. 2019, "Comparing classes".
    """
    size = np.abs(np.asarray(difference, dtype=np.float64))
    scale = float(np.percentile(size, 99)) if size.size else 0.0
    # Where 99 % are 0 the largest is all there is.
    return scale or float(size.max(initial=0.0)) or 1.0


def comparison_axis(difference: ArrayLike, scale: float) -> NDArray[np.float32]:
    """x in [0, 1]: 0 speaks for the left class alone, 1 for the right, 0.5 for both or neither.

    Args:    difference: (activation,) right minus left, logits. scale: of ``axis_scale``.
    Returns: (activation,), (clip(difference / scale, -1, 1) + 1) / 2.
    """
    share = np.clip(np.asarray(difference, dtype=np.float64) / scale, -1, 1)
    return ((share + 1) / 2).astype(np.float32)
