"""Where labels go: near what they name, on empty ground, over no other label, across no other's leader line.

Greedy, after Christensen, Marks and Shieber (1995, "An empirical study of algorithms for point-feature label
placement"): candidates on a lattice, the best of them for each label in turn. Lengths are in any one unit;
x runs right and y down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What is worth how much of a leader line, in heights of a label; a line longer than the last is dear.
_COVERS_ALL, _CROSSES, _LONG = 40.0, 30.0, 3.0
# Free space around a label, and the step of the lattice, in its heights.
_PADDING, _STEP = 0.35, 0.5
_ROUNDS = 6


def place_labels(
    anchors: ArrayLike, sizes: ArrayLike, page: tuple[float, float, float, float], ink: ArrayLike
) -> NDArray[np.float64]:
    """Left top corners of labels, the most important first.

    Args:    anchors: (label, 2) x, y of what is named. sizes: (label, 2) width, height, > 0.
             page: left, top, right, bottom. ink: (row, col) in [0, 1] over the page: how much a label
             that lies there would hide.
    Returns: (label, 2) x, y; NaN for a label that fits nowhere without overlap.
    """
    point, size = np.asarray(anchors, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    placed = np.full((len(point), 2), np.nan)
    if len(point) == 0:
        return placed
    unit = float(np.median(size[:, 1]))
    covered = _Coverage(np.asarray(ink, dtype=np.float64), page)
    # After the first round a label may find better room, now that the others are known.
    for _ in range(_ROUNDS):
        before = placed.copy()
        for label in range(len(point)):
            placed[label] = _best_place(label, point, size, placed, page, covered, unit)
        if np.array_equal(before, placed, equal_nan=True):
            break
    return placed


def _best_place(
    label: int,
    point: NDArray[np.float64],
    size: NDArray[np.float64],
    placed: NDArray[np.float64],
    page: tuple[float, float, float, float],
    covered: _Coverage,
    unit: float,
) -> NDArray[np.float64]:
    """(2,): the cheapest place of one label, the others staying where they are; NaN where it has none."""
    boxes = _candidates(page, size[label], unit * _STEP)
    others = np.flatnonzero(np.isfinite(placed[:, 0]) & (np.arange(len(placed)) != label))
    taken = np.concatenate([placed[others], placed[others] + size[others]], axis=1)
    boxes = boxes[~_overlap(boxes, taken, unit * _PADDING).any(axis=1)]
    if len(boxes) == 0:
        return np.full(2, np.nan)
    ends = leader_ends(boxes, point[label])
    length = np.linalg.norm(ends - point[label], axis=1) / unit
    cost = length + (length / _LONG) ** 2
    cost += _COVERS_ALL * covered.share(boxes)
    cost += _CROSSES * _crossings(boxes, ends, point[label], taken, point[others])
    return boxes[int(cost.argmin()), :2]


def leader_ends(boxes: ArrayLike, point: ArrayLike) -> NDArray[np.float64]:
    """Where a leader line from a point meets a box: its nearest point.

    Args:    boxes: (box, 4) left, top, right, bottom. point: (2,), or (box, 2) one a box.
    Returns: (box, 2).
    """
    box, xy = np.asarray(boxes, dtype=np.float64), np.asarray(point, dtype=np.float64)
    return np.clip(np.broadcast_to(xy, (len(box), 2)), box[:, :2], box[:, 2:])


def _candidates(
    page: tuple[float, float, float, float], size: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """(box, 4): a lattice of places within the page, its last row and column flush with the edge."""
    axes = []
    for low, high, length in ((page[0], page[2], size[0]), (page[1], page[3], size[1])):
        room = high - low - length
        axes.append(low + np.linspace(0, room, int(room / step) + 2) if room >= 0 else np.empty(0))
    left, top = (grid.ravel() for grid in np.meshgrid(*axes))
    return np.stack([left, top, left + size[0], top + size[1]], axis=1)


def _overlap(boxes: NDArray[np.float64], others: NDArray[np.float64], padding: float) -> NDArray[np.bool_]:
    """(box, other): do they come closer than the padding?"""
    a, b = boxes[:, None], others[None]
    apart = (a[..., 2:] + padding <= b[..., :2]) | (b[..., 2:] + padding <= a[..., :2])
    return np.asarray(~apart.any(axis=2))


def _crossings(
    boxes: NDArray[np.float64],
    ends: NDArray[np.float64],
    point: NDArray[np.float64],
    others: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.int64]:
    """(box,): how many leader lines and labels the new line would cross, and lines the new label."""
    number = np.zeros(len(boxes), dtype=np.int64)
    starts = np.broadcast_to(point, ends.shape)
    for other, anchor in zip(others, points, strict=True):
        end = leader_ends(other[None], anchor)[0]
        number += _segments_meet(starts, ends, anchor, end)
        for corner, opposite in ((other[:2], other[2:]), (other[[0, 3]], other[[2, 1]])):
            number += _segments_meet(starts, ends, corner, opposite)
        for corner, opposite in ((boxes[:, :2], boxes[:, 2:]), (boxes[:, [0, 3]], boxes[:, [2, 1]])):
            number += _segments_meet(corner, opposite, anchor, end)
    return number


def _segments_meet(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(segment,): does a-b, many of them, cross c-d, one of them?"""

    def side(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = q - p, r - p
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


class _Coverage:
    """Mean ink under a box, by an integral image."""

    def __init__(self, ink: NDArray[np.float64], page: tuple[float, float, float, float]) -> None:
        self._sum = np.zeros((ink.shape[0] + 1, ink.shape[1] + 1))
        self._sum[1:, 1:] = ink.cumsum(axis=0).cumsum(axis=1)
        self._corner = np.array(page[:2])
        self._scale = np.array([ink.shape[1], ink.shape[0]]) / (np.array(page[2:]) - page[:2])

    def share(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(box,) in [0, 1]."""
        limits = np.array(self._sum.shape[::-1]) - 1
        low = np.clip(np.floor((boxes[:, :2] - self._corner) * self._scale), 0, limits - 1).astype(np.int64)
        high = np.clip(np.ceil((boxes[:, 2:] - self._corner) * self._scale), low + 1, limits).astype(np.int64)
        total = (
            self._sum[high[:, 1], high[:, 0]]
            - self._sum[low[:, 1], high[:, 0]]
            - self._sum[high[:, 1], low[:, 0]]
            + self._sum[low[:, 1], low[:, 0]]
        )
        return total / np.prod(high - low, axis=1)
