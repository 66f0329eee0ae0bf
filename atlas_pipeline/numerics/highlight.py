"""How strongly cells support one class or oppose it.

A positive attribution supports the class, a negative one opposes it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Sign = Literal["positive", "negative"]


def support(attribution: ArrayLike, sign: Sign = "positive") -> NDArray[np.float64]:
    """Magnitude of the attributions that have the given sign; 0 for the others and for non-finite values.

    Args:    attribution: (cell,), logits. sign: "negative" selects the attributions that oppose the class.
    Returns: (cell,) float64, logits, >= 0.
    """
    amount = np.asarray(attribution, dtype=np.float64)
    if sign == "negative":
        amount = -amount
    return np.where(np.isfinite(amount), np.maximum(amount, 0), 0)


def opacity(attribution: ArrayLike, sign: Sign = "positive") -> NDArray[np.float64]:
    """Opacity of each cell's icon, from its mean attribution to one class: 1 for the strongest cell.

    Opacity is proportional to the attribution and normalised by the class's strongest cell on this grid.
    There is no gamma: values of 0.7 and 0.5 were tried, and at 0.5 a cell with a twentieth of the maximum
    already looks highlighted.

    Args:    attribution: (cell,), logits. sign: see ``support``.
    Returns: (cell,) float64 in [0, 1]; all 0 if no cell has the sign.
    """
    amount = support(attribution, sign)
    most = amount.max(initial=0)
    return amount / most if most > 0 else amount
