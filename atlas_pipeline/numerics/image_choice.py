"""Choice of the images that the viewer shows whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def chosen_images(tiers: Iterable[ArrayLike], most: int) -> NDArray[np.int64]:
    """Images in tiers of falling importance, until there are enough.

    From the tier that no longer fits, images at equal steps are taken, so that no part of it is preferred.

    Args:    tiers: image ids, an id may occur several times; none is read after the last that is needed.
             most: number of images.
    Returns: (image,) ascending ids, each once.

    >>> chosen_images([[7, 3], [3, 1, 2, 4, 5]], most=4).tolist()
    [1, 3, 5, 7]
    """
    chosen: dict[int, None] = {}
    for tier in tiers:
        new = [image for image in dict.fromkeys(np.asarray(tier).tolist()) if image not in chosen]
        free = most - len(chosen)
        if len(new) > free:
            new = [new[at] for at in np.linspace(0, len(new) - 1, free).round().astype(int)]
        chosen |= dict.fromkeys(new)
        if len(chosen) >= most:
            break
    return np.array(sorted(chosen), dtype=np.int64)
