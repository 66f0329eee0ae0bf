"""Label placement: near the labelled point, on empty ground, without overlaps or crossed leader lines.

The method is greedy, after Christensen, Marks and Shieber (1995, "An empirical study of algorithms for
point-feature label placement"): candidates lie on a lattice, and each label in turn takes its cheapest one.
All lengths share one arbitrary unit; x points right and y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atlas_pipeline.numerics.boxes import (
    DIAGONALS,
    count_crossings,
    count_lines_across,
    leader_ends,
    overlap,
    segments_cross,
)

# In label heights: cost of crossing a line, length from which a leader is costly.
_CROSSING_COST, _LONG_LEADER = 30.0, 3.0
_NO_PLACE_COST = 1e6
# Free space around a label and the step of the lattice, in label heights.
_PADDING, _STEP = 0.35, 0.5
_ROUNDS, _BLOCK, _MAX_LABELS_FOR_ORDERS = 4, 256, 20


def place_labels(
    anchors: ArrayLike,
    sizes: ArrayLike,
    page: tuple[float, float, float, float],
    ink: ArrayLike,
    lines: ArrayLike = (),
    longest: float = np.inf,
) -> NDArray[np.float64]:
    """Find the top left corner of each label; the most important label comes first.

    Args:    anchors: (label, 2) x, y of the labelled points. sizes: (label, 2) width, height, > 0.
             page: left, top, right, bottom. ink: (row, col) over the page: above 0 where no label may lie.
             lines: (line, 2, 2), from x, y to x, y: existing lines, on which no label may lie and which
             leader lines should not cross. longest: no leader line may be longer.
    Returns: (label, 2) x, y; NaN for a label that fits nowhere.
    """
    point, size = np.asarray(anchors, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if len(point) == 0:
        return np.empty((0, 2))
    unit = float(np.median(size[:, 1]))
    covered = _Coverage(np.asarray(ink, dtype=np.float64), page)
    existing = np.asarray(lines, dtype=np.float64).reshape(-1, 2, 2)
    choices = [
        _choices(label, point, size, page, unit, covered, existing, longest) for label in range(len(point))
    ]
    by_height, by_side = np.argsort(point[:, 1], kind="stable"), np.argsort(point[:, 0], kind="stable")
    number = np.arange(len(point))
    # Earlier labels take the best places, so try several orders and keep the cheapest; many labels take long.
    orders = [number, number[::-1], by_height, by_height[::-1], by_side, by_side[::-1]]
    orders = orders if len(point) <= _MAX_LABELS_FOR_ORDERS else orders[:1]
    solutions = [_place_in_order(order, point, choices, unit) for order in orders]
    return min(solutions, key=lambda places_and_cost: places_and_cost[1])[0]


@dataclass(frozen=True, slots=True)
class _Choices:
    """Candidate positions of one label, cheapest first.

    boxes: (choice, 4). ends: (choice, 2), of the leader line. cost: (choice,), of the label on its own.
    """

    boxes: NDArray[np.float64]
    ends: NDArray[np.float64]
    cost: NDArray[np.float64]


def _choices(
    label: int,
    points: NDArray[np.float64],
    sizes: NDArray[np.float64],
    page: tuple[float, float, float, float],
    unit: float,
    covered: _Coverage,
    lines: NDArray[np.float64],
    longest: float,
) -> _Choices:
    boxes = _candidates(page, sizes[label], unit * _STEP)
    ends = leader_ends(boxes, points[label])
    length = np.linalg.norm(ends - points[label], axis=1) / unit
    # A label must not hide a labelled point, its own or another's.
    hidden = overlap(boxes, np.concatenate([points, points], axis=1), unit * _PADDING).sum(axis=1)
    across = count_crossings(boxes, ends, points[label], lines[None, :, 0], lines[None, :, 1])
    cost = length + (length / _LONG_LEADER) ** 2 + _CROSSING_COST * (hidden + across)
    is_free = (covered.share(boxes) == 0) & (length * unit <= longest)
    is_free &= count_lines_across(boxes, lines[None, :, 0], lines[None, :, 1]) == 0
    boxes, ends, cost = boxes[is_free], ends[is_free], cost[is_free]
    order = np.argsort(cost, kind="stable")
    return _Choices(boxes[order], ends[order], cost[order])


def _place_in_order(
    order: NDArray[np.int64], point: NDArray[np.float64], choices: Sequence[_Choices], unit: float
) -> tuple[NDArray[np.float64], float]:
    """Place labels one after another: (label, 2) positions, and the total cost."""
    boxes, cost = np.full((len(order), 4), np.nan), np.zeros(len(order))
    # After the first round a label may find a better place, because the others are now known.
    for _ in range(_ROUNDS):
        before = boxes.copy()
        for label in order.tolist():
            others = np.flatnonzero(np.isfinite(boxes[:, 0]) & (np.arange(len(boxes)) != label))
            boxes[label], cost[label] = _best(
                choices[label], point[label], boxes[others], point[others], unit
            )
        if np.array_equal(before, boxes, equal_nan=True):
            break
    return boxes[:, :2], float(cost.sum())


def _best(
    choices: _Choices,
    point: NDArray[np.float64],
    taken: NDArray[np.float64],
    points: NDArray[np.float64],
    unit: float,
) -> tuple[NDArray[np.float64], float]:
    """The cheapest box of one label, with all others fixed, and its cost; NaN if it has no place."""
    best, least = np.full(4, np.nan), _NO_PLACE_COST
    for start in range(0, len(choices.cost), _BLOCK):
        # Other labels only add to the cost and candidates are sorted, so later ones cannot be cheaper.
        if choices.cost[start] >= least:
            break
        boxes, ends, cost = (
            part[start : start + _BLOCK] for part in (choices.boxes, choices.ends, choices.cost)
        )
        total = cost + _CROSSING_COST * _crossings(boxes, ends, point, taken, points)
        total[overlap(boxes, taken, unit * _PADDING).any(axis=1)] = np.inf
        cheapest = int(total.argmin())
        if total[cheapest] < least:
            best, least = boxes[cheapest], float(total[cheapest])
    return best, least


def _candidates(
    page: tuple[float, float, float, float], size: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """(box, 4): a lattice of positions within the page; the last row and column touch the edge."""
    axes = []
    for low, high, length in ((page[0], page[2], size[0]), (page[1], page[3], size[1])):
        room = high - low - length
        axes.append(low + np.linspace(0, room, int(room / step) + 2) if room >= 0 else np.empty(0))
    left, top = (grid.ravel() for grid in np.meshgrid(*axes))
    return np.stack([left, top, left + size[0], top + size[1]], axis=1)


def _crossings(
    boxes: NDArray[np.float64],
    ends: NDArray[np.float64],
    point: NDArray[np.float64],
    others: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.int64]:
    """(box,): number of times the new leader crosses leaders and labels, or the label crosses leaders."""
    start, end = point[None, None], ends[:, None]
    number = count_crossings(boxes, ends, point, points[None], leader_ends(others, points)[None])
    for one, other in DIAGONALS:
        number += segments_cross(start, end, others[None, :, one], others[None, :, other]).sum(axis=1)
    return number


class _Coverage:
    """Mean ink under boxes, computed from an integral image."""

    def __init__(self, ink: NDArray[np.float64], page: tuple[float, float, float, float]) -> None:
        self._sum = np.zeros((ink.shape[0] + 1, ink.shape[1] + 1))
        self._sum[1:, 1:] = ink.cumsum(axis=0).cumsum(axis=1)
        self._corner = np.array(page[:2])
        self._scale = np.array([ink.shape[1], ink.shape[0]]) / (np.array(page[2:]) - page[:2])

    def share(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean ink under each box: (box,) in [0, 1]."""
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
