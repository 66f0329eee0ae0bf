"""Boxes and line segments in the plane: overlaps and crossings. A box is left, top, right, bottom."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Column pairs of a box's two diagonals: a line that crosses the box crosses at least one of them.
DIAGONALS = (([0, 1], [2, 3]), ([0, 3], [2, 1]))


def leader_ends(boxes: ArrayLike, point: ArrayLike) -> NDArray[np.float64]:
    """Where a leader line from a point meets a box: the box's nearest point.

    Args:    boxes: (box, 4) left, top, right, bottom. point: (2,), or (box, 2) with one point per box.
    Returns: (box, 2) float64.
    """
    box, xy = np.asarray(boxes, dtype=np.float64), np.asarray(point, dtype=np.float64)
    return np.clip(np.broadcast_to(xy, (len(box), 2)), box[:, :2], box[:, 2:])


def overlap(boxes: NDArray[np.float64], others: NDArray[np.float64], padding: float) -> NDArray[np.bool_]:
    """(box, other): whether two boxes come closer than the padding."""
    a, b = boxes[:, None], others[None]
    apart = (a[..., 2:] + padding <= b[..., :2]) | (b[..., 2:] + padding <= a[..., :2])
    return np.asarray(~apart.any(axis=2))


def count_crossings(
    boxes: NDArray[np.float64],
    ends: NDArray[np.float64],
    point: NDArray[np.float64],
    starts: NDArray[np.float64],
    stops: NDArray[np.float64],
) -> NDArray[np.int64]:
    """(box,): number of lines, (1, line, 2) starts and stops, that a new label or its leader crosses."""
    leaders = segments_cross(point[None, None], ends[:, None], starts, stops)
    return leaders.sum(axis=1) + count_lines_across(boxes, starts, stops)


def count_lines_across(
    boxes: NDArray[np.float64], starts: NDArray[np.float64], stops: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(box,): number of lines, (1, line, 2) starts and stops, across each diagonal of a box, added up."""
    across = [
        segments_cross(boxes[:, None, one], boxes[:, None, other], starts, stops) for one, other in DIAGONALS
    ]
    return np.asarray(sum(across)).sum(axis=1)


def segments_cross(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.int64]:
    """1 where the segments a-b and c-d cross, else 0. a, b, c, d: (..., 2), broadcast."""

    def side(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = q - p, r - p
        return np.asarray(u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0])

    across = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return across.astype(np.int64)
