"""Tuning of units to orientation: maps of responses, families of units that are rotations of each other.

A map holds a unit's responses to stimuli: by orientation, and by condition (shape and look). A family is a
set of units whose maps agree once they are rotated, found without naming what the units respond to.
U = unit, O = orientation, over the whole turn in equal steps, C = condition.

Source: Cammarata et al., "Curve Detectors" (Distill 2020) and "Curve Circuits" (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
_ROWS_AT_ONCE = 64
_TINY = 1e-12
# Turns under which a family may look the same, smallest first: a cross, a line.
_SYMMETRIES_DEG = (90, 180)


def oriented(maps: Map) -> Map:
    """The part of maps (..., O, C) that depends on orientation: each condition less its mean over O."""
    return maps - maps.mean(axis=-2, keepdims=True)


def oriented_share(maps: Map) -> NDArray[np.float64]:
    """The share of the variance of each map (U, O, C) that its orientation explains; 0 for a constant map."""
    whole = np.square(maps - maps.mean(axis=(1, 2), keepdims=True)).sum((1, 2))
    part = np.square(oriented(maps)).sum((1, 2))
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > _TINY)


def swing(maps: Map) -> NDArray[np.float64]:
    """(U,): the largest difference between two orientations of one condition."""
    return np.ptp(maps, axis=1).max(axis=1)


def rotated_agreement(one: Map, other: Map) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How well each map of one set agrees with each of another, at the rotation where it agrees best.

    The agreement is the correlation of the oriented parts over all orientations and conditions. A rotation of
    k says that the first map is the second turned by k steps: a unit that prefers 45 degrees is one that
    prefers 0 turned by 45.

    Args:    one: (U, O, C). other: (V, O, C).
    Returns: agreement (U, V) in [-1, 1], and rotation (U, V) in [0, O).
    """
    correlations = _correlations(one, other)
    rotation = correlations.argmax(axis=2)
    return np.take_along_axis(correlations, rotation[..., None], axis=2)[..., 0], rotation


def _correlations(one: Map, other: Map) -> NDArray[np.float64]:
    """(U, V, O): the correlation at every rotation. A map without an oriented part has correlation 0."""
    first, second = (np.fft.rfft(_normed(maps), axis=1) for maps in (one, other))
    products = np.einsum("ufc,vfc->uvf", first, second.conj(), optimize=True)
    return np.fft.irfft(products, n=one.shape[1], axis=2)


def _normed(maps: Map) -> Map:
    parts = oriented(maps)
    lengths = np.sqrt(np.square(parts).sum((1, 2), keepdims=True))
    return np.divide(parts, lengths, out=np.zeros_like(parts), where=lengths > _TINY)


def pair_agreements(maps: Map) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """`rotated_agreement` of all pairs of maps (U, O, C), some rows at a time: (U, U), exactly symmetric."""
    num = len(maps)
    agreement, rotation = np.eye(num), np.zeros((num, num), np.int64)
    for start in range(0, num, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        agreement[rows], rotation[rows] = rotated_agreement(maps[rows], maps)
    later = np.triu_indices(num, 1)
    # Rounding differs between a pair and its reverse; one of the two counts.
    agreement.T[later], rotation.T[later] = agreement[later], -rotation[later] % maps.shape[1]
    return agreement, rotation


def null_agreements(maps: Map, num_pairs: int, seed: int) -> NDArray[np.float64]:
    """Agreements of random pairs of maps (U, O, C), one of each shuffled: (num_pairs,), sorted.

    Each condition of the shuffled map is rotated by a random number of steps of its own. Its tuning curves
    stay as they are, but they no longer belong to one orientation.
    """
    rng = np.random.default_rng(seed)
    num, num_orientations, num_conditions = maps.shape
    one = rng.integers(num, size=num_pairs)
    # Another unit than the first, if there is one.
    other = (one + 1 + rng.integers(max(1, num - 1), size=num_pairs)) % num
    turns = rng.integers(num_orientations, size=(num_pairs, 1, num_conditions))
    places = (np.arange(num_orientations)[:, None] + turns) % num_orientations
    found = []
    for start in range(0, num_pairs, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        shuffled = np.take_along_axis(maps[one[rows]], places[rows], axis=1)
        first, second = (np.fft.rfft(_normed(m), axis=1) for m in (shuffled, maps[other[rows]]))
        products = np.einsum("pfc,pfc->pf", first, second.conj())
        found.append(np.fft.irfft(products, n=num_orientations, axis=1).max(axis=1))
    return np.sort(np.concatenate(found))


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Units whose maps are rotations of each other, in the order of the orientation that each prefers.

    period: degrees after which the joint map repeats: 360, or 180 for lines, or 90 for crosses.
    """

    members: NDArray[np.int64]
    """(member,): rows of the maps that the families were found in."""
    orientation: NDArray[np.float64]
    """(member,): preferred orientation in degrees, in [0, period)."""
    rotation: NDArray[np.int64]
    """(member,): steps by which the joint map is turned to give the member's."""
    agreement: NDArray[np.float64]
    """(member,): agreement with the mean of the other members' turned maps."""
    joint: Map
    """(O, C): the mean of the members' maps, each turned so that it prefers orientation 0."""
    condition: int
    """The condition with the largest joint response."""
    period: int


def families(maps: Map, min_agreement: float, min_members: int) -> list[Family]:
    """The families among maps (U, O, C), the largest first; of equal ones that with the first unit.

    Units are clustered by average linkage (scikit-learn), so the mean agreement between two parts of a family
    is at least ``min_agreement``.
    """
    from sklearn.cluster import AgglomerativeClustering

    if len(maps) < max(2, min_members):
        return []
    agreement, rotation = pair_agreements(maps)
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - min_agreement
    )
    labels = clustering.fit_predict(1 - agreement)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    groups = sorted((g for g in groups if len(g) >= min_members), key=lambda g: (-len(g), g[0]))
    return [_family(maps, group, agreement, rotation, min_agreement) for group in groups]


def _family(
    maps: Map,
    group: NDArray[np.int64],
    agreement: NDArray[np.float64],
    rotation: NDArray[np.int64],
    min_agreement: float,
) -> Family:
    among = np.ix_(group, group)
    # The member that agrees best with all others is the first reference.
    medoid = int(agreement[among].sum(1).argmax())
    turns = rotation[among][:, medoid]
    num, num_orientations = len(group), maps.shape[1]
    aligned = _aligned(maps[group], turns)
    own = np.empty(num)
    for member in range(num):
        others = (aligned.sum(0) - aligned[member]) / (num - 1)
        curve = _correlations(aligned[member][None], others[None])[0, 0]
        turns[member] = (turns[member] + curve.argmax()) % num_orientations
        own[member] = curve.max()
    aligned = _aligned(maps[group], turns)
    joint = aligned.mean(0)
    # Angles between the steps are those to one reference, the mean of all members.
    curves = _correlations(aligned, joint[None])[:, 0]
    fine = np.array([_vertex(curve, int(curve.argmax())) for curve in curves])
    peak, condition = (int(one) for one in np.unravel_index(joint.argmax(), joint.shape))
    period = _period(joint, min_agreement)
    turns = (turns + peak) % num_orientations
    fine += _vertex(joint[:, condition], peak)
    angles = np.mod((turns + fine) * (360 / num_orientations), period)
    # An angle just below the period is one just above 0, rounded.
    angles = np.where(np.isclose(angles, period), 0.0, angles)
    order = np.lexsort((group, angles))
    return Family(
        members=group[order],
        orientation=angles[order],
        rotation=turns[order],
        agreement=own[order],
        joint=_turned(joint, -peak),
        condition=condition,
        period=period,
    )


def _aligned(maps: Map, turns: NDArray[np.int64]) -> Map:
    """Maps (U, O, C), each turned back by its own number of steps."""
    return np.stack([_turned(one, -int(turn)) for one, turn in zip(maps, turns, strict=True)])


def _turned(one: Map, steps: int) -> Map:
    """A map (O, C) turned by some steps: its response to orientation 0 becomes that to ``steps``."""
    return np.roll(one, steps, axis=0)


def _vertex(curve: NDArray[np.float64], best: int) -> float:
    """The place of a cyclic curve's maximum beside its largest value, in steps, by a parabola."""
    before, at, after = (curve[(best + step) % len(curve)] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    return float(np.clip((before - after) / (2 * bend), -0.5, 0.5)) if bend < -_TINY else 0.0


def _period(joint: Map, min_agreement: float) -> int:
    curve = _correlations(joint[None], joint[None])[0, 0]
    for period in _SYMMETRIES_DEG:
        steps, rest = divmod(period * len(curve), 360)
        if not rest and curve[steps] >= min_agreement:
            return period
    return 360


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Correlation of two sets of curves (..., O), each curve less its own mean; NaN if one set is flat."""
    first, second = (np.asarray(v) - np.mean(v, axis=-1, keepdims=True) for v in (one, other))
    length = np.sqrt(np.square(first).sum() * np.square(second).sum())
    return float((first * second).sum() / length) if length > _TINY else float("nan")


def largest_gap(orientation: Sequence[float] | NDArray[np.float64], period: int) -> float:
    """The largest angle between neighbours among orientations in [0, period), degrees.

    >>> largest_gap([0, 45, 90], 180)
    90.0
    """
    angles = np.sort(np.asarray(orientation, np.float64))
    return float(np.diff([*angles, angles[0] + period]).max())
