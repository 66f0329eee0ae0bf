"""Axis of a class comparison: which of two classes an activation supports, and how strongly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def axis_scale(difference: ArrayLike) -> float:
    """The difference that counts as full support for one class: the 99th percentile of the magnitudes.

    The maximum would let one outlier compress all other activations into the middle.

    Args:    difference: (activation,) attribution to the right class minus that to the left, logits.
    Returns: logits, > 0; 1 if all differences are 0 or there are none.
    Source:  Carter et al. 2019, "Comparing classes".

    >>> axis_scale([-3.0, 0.5, 3.0])
    3.0
    """
    size = np.abs(np.asarray(difference, dtype=np.float64))
    scale = float(np.percentile(size, 99)) if size.size else 0.0
    # If 99 % are 0, the percentile is 0; use the maximum.
    return scale or float(size.max(initial=0.0)) or 1.0


def comparison_axis(difference: ArrayLike, scale: float) -> NDArray[np.float32]:
    """Position in [0, 1]: 0 supports only the left class, 1 only the right class, 0.5 both or neither.

    Args:    difference: (activation,) right minus left, logits. scale: from ``axis_scale``.
    Returns: (activation,) float32, (clip(difference / scale, -1, 1) + 1) / 2.

    >>> comparison_axis([-3.0, 0.0, 1.5], scale=3.0).tolist()
    [0.0, 0.5, 0.75]
    """
    share = np.clip(np.asarray(difference, dtype=np.float64) / scale, -1, 1)
    return ((share + 1) / 2).astype(np.float32)
