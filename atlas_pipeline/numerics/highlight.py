"""How strongly cells speak for one class, or against it.

An attribution's sign says which: positive speaks for the class, negative against it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Sign = Literal["positive", "negative"]


def support(attribution: ArrayLike, sign: Sign = "positive") -> NDArray[np.float64]:
    """The part of an attribution that has the sign, as an amount; nothing where it is not finite.

    Args:    attribution: (cell,), logits. sign: "negative" asks what speaks against the class.
    Returns: (cell,), logits, >= 0.
    """
    amount = np.asarray(attribution, dtype=np.float64)
    if sign == "negative":
        amount = -amount
    return np.where(np.isfinite(amount), np.maximum(amount, 0), 0)


def opacity(attribution: ArrayLike, sign: Sign = "positive") -> NDArray[np.float64]:
    """Opacity of each cell's icon by its mean attribution to one class: the strongest cell has 1.

    Proportional to the attribution, so that half the opacity is half the attribution, and normalised
    by this class's own strongest cell on this grid. A gamma of 0.7 or 0.5 was tried: it shows more of
    what is weak, and at 0.5 a cell with a twentieth of the maximum looks lit. So there is none.

    Args:    attribution: (cell,), logits. sign: see ``support``.
    Returns: (cell,) in [0, 1]; all 0 where no cell has the sign.
    """
    amount = support(attribution, sign)
    most = amount.max(initial=0)
    return amount / most if most > 0 else amount
