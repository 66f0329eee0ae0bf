"""How often something happens over patches x images, and how sure that is.

Every patch is tried on the same images, so its outcomes hang together with those of the other patches: an
image near the border between two classes gives way to many. Counting patches x images as so many independent
trials would make intervals too narrow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_DRAWS = 2000
# Images times draws weighed at once.
_WEIGHTS_AT_ONCE = 4_000_000


class Rate(NamedTuple):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def wilson(num_successes: int, num_trials: int) -> Rate:
    """Share of successes among independent trials, with Wilson's score interval (1927).

    Raises: ValueError: no trials.
    """
    if num_trials < 1:
        raise ValueError("a share needs at least one trial")
    # Imported here, since most commands need no rate and the import takes a second.
    from scipy.stats import binomtest

    interval = binomtest(num_successes, num_trials).proportion_ci(method="wilson")
    return Rate(num_successes / num_trials, float(interval.low), float(interval.high))


def share_rate(outcomes: ArrayLike, seed: int) -> Rate:
    """Share over patches and images, with an interval for other patches of the kind and other images.

    Patches and images are both drawn anew with replacement, each by themselves (the pigeonhole bootstrap,
    Owen 2007), and the 2.5th and 97.5th percentiles of the means taken. It errs on the wide side, if at all.
    Where all outcomes are the same nothing can be learned so: Wilson's interval is given then, with every
    image counted once.

    Args:   outcomes: (patch, image) bool. seed: of the draws.
    Raises: ValueError: no patches or no images.
    """
    values = np.asarray(outcomes, dtype=bool)
    drawn = _drawn_anew(values, seed)
    if drawn is None:
        num_images = values.shape[1]
        return wilson(int(values.flat[0]) * num_images, num_images)
    return drawn


def difference_rate(outcomes: ArrayLike, baseline: ArrayLike, seed: int) -> Rate:
    """Share of ``outcomes`` minus that of ``baseline``, pair by pair; intervals as of ``share_rate``.

    Where all pairs differ alike: as far to either side as Wilson's interval of no image reaches.

    Args:   outcomes, baseline: (patch, image) bool, of the same cells and images.
    Raises: ValueError: no patches or no images.
    """
    values = np.asarray(outcomes, dtype=np.int8) - np.asarray(baseline, dtype=np.int8)
    drawn = _drawn_anew(values, seed)
    if drawn is None:
        mean, reach = float(values.flat[0]), wilson(0, values.shape[1]).high
        return Rate(mean, max(-1.0, mean - reach), min(1.0, mean + reach))
    return drawn


def _drawn_anew(values: NDArray, seed: int) -> Rate | None:
    """Mean and bootstrapped interval; None where all values are the same."""
    num_patches, num_images = values.shape
    if not values.size:
        raise ValueError(f"{num_patches} patches and {num_images} images; a mean needs one of each")
    if (values == values.flat[0]).all():
        return None
    rng = np.random.default_rng(seed)
    by_image = rng.multinomial(num_patches, np.full(num_patches, 1 / num_patches), NUM_DRAWS) @ values
    at_once = max(1, _WEIGHTS_AT_ONCE // num_images)
    sums = [
        (rng.multinomial(num_images, np.full(num_images, 1 / num_images), len(part)) * part).sum(axis=1)
        for part in np.split(by_image, range(at_once, NUM_DRAWS, at_once))
    ]
    low, high = np.percentile(np.concatenate(sums) / values.size, [2.5, 97.5])
    return Rate(float(values.mean()), float(low), float(high))


def best_places(outcomes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where each patch does best: (patch, place, image) -> (patch,) index; of equals the first."""
    return outcomes.sum(axis=2).argmax(axis=1)


def at_places(outcomes: NDArray[np.bool_], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(patch, place, image) at one place a patch -> (patch, image)."""
    return outcomes[np.arange(len(places)), places]


def held_out(outcomes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The outcome of each image at the place that does best on images of the other half.

    The best of several places, chosen and counted on the same images, is in part the luckiest. Halves: every
    other image.

    Args:    outcomes: (patch, place, image).
    Returns: (patch, image).
    """
    chosen = np.empty((outcomes.shape[0], outcomes.shape[2]), bool)
    for half in (0, 1):
        places = best_places(outcomes[..., 1 - half :: 2])
        chosen[:, half::2] = at_places(outcomes, places)[:, half::2]
    return chosen
