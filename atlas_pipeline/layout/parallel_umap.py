"""UMAP's optimisation on all cores, bitwise the same on any number of them; see ``umap_edges``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout import umap_edges
from atlas_pipeline.layout.umap_edges import Edges, Force, epoch_key, step_size

# Typed constants: an untyped constant would widen the arithmetic of the compiled code to 64 bits.
_f32, _i32, _u32, _u64 = np.float32, np.int32, np.uint32, np.uint64
_MIX_FIRST, _MIX_SECOND = _u32(umap_edges.MIX_FIRST), _u32(umap_edges.MIX_SECOND)
_GOLDEN, _NUM_PUSHES = _u32(umap_edges.GOLDEN), umap_edges.NUM_PUSHES
_RATE_BITS, _MAX_STEP = umap_edges.RATE_BITS, _f32(umap_edges.MAX_STEP)
_SOFTENING, _PULL = _f32(umap_edges.SOFTENING), _f32(umap_edges.PULL)
_ZERO, _HALF, _ONE, _TWO, _LN_2 = _f32(0), _f32(0.5), _f32(1), _f32(2), _f32(np.log(2))
# log2((1 + t) / (1 - t)) = _LOG2_FACTOR (t + t^3 / 3 + ...)
_LOG2_FACTOR = _f32(2 / np.log(2))
_ROOT_HALF_BITS = _i32(np.float32(np.sqrt(0.5)).view(np.int32))


Between = Callable[[Sequence[NDArray[np.float32]], float], None]


def parallel_layout(
    edges: Edges, start: NDArray[np.float32], force: Force, num_epochs: int, seed: int
) -> NDArray[np.float32]:
    """Optimise all vertices in parallel, epoch by epoch.

    Args:    start: (vertex, 2).
    Returns: (vertex, 2); bitwise the same for any number of threads.
    """
    (layout,) = parallel_layouts([edges], [start], force, num_epochs, seed)
    return layout


def parallel_layouts(
    edges: Sequence[Edges],
    starts: Sequence[NDArray[np.float32]],
    force: Force,
    num_epochs: int,
    seed: int,
    between: Between = lambda layouts, step: None,
) -> list[NDArray[np.float32]]:
    """Optimise several graphs side by side, epoch by epoch, with the same random vertices in each.

    Args:    between: called after every epoch with all layouts, to change in place, and the epoch's step.
    Returns: a layout for each graph, as ``parallel_layout`` returns it.
    """
    curve = _f32(force.a), _f32(force.b)
    old = [start.astype(np.float32) for start in starts]
    new = [np.empty_like(layout) for layout in old]
    for epoch in range(num_epochs):
        step, key = step_size(epoch, num_epochs), _u32(epoch_key(seed, epoch))
        for e, current, updated in zip(edges, old, new, strict=True):
            _epoch(current, updated, e.row_start, e.neighbor, e.rate, epoch, *curve, _f32(step), key)
        old, new = new, old
        between(old, step)
    return old


@numba.njit(inline="always")
def _mix(bits: Any) -> Any:
    bits = _u32(_u32(bits ^ (bits >> _u32(16))) * _MIX_FIRST)
    bits = _u32(_u32(bits ^ (bits >> _u32(13))) * _MIX_SECOND)
    return _u32(bits ^ (bits >> _u32(16)))


@numba.njit(inline="always")
def _power(base: Any, exponent: Any) -> Any:
    """base ** exponent to 1e-6, for base > 0 (0 gives 2^-126); twice as fast as the library function."""
    bits = _f32(base).view(_i32)
    whole = _i32(_i32(bits - _ROOT_HALF_BITS) >> _i32(23))
    above_one = _i32(bits - _i32(whole << _i32(23))).view(_f32) - _ONE
    t = above_one / (above_one + _TWO)
    s = t * t
    series = _ONE + s * (_f32(1 / 3) + s * (_f32(1 / 5) + s * (_f32(1 / 7) + s * _f32(1 / 9))))
    log2 = min(_f32(126), max(_f32(-126), exponent * (_f32(whole) + _LOG2_FACTOR * t * series)))
    nearest = _i32(np.floor(log2 + _HALF))
    r = (log2 - _f32(nearest)) * _LN_2
    tail = _HALF + r * (_f32(1 / 6) + r * (_f32(1 / 24) + r * (_f32(1 / 120) + r * _f32(1 / 720))))
    return _i32(_i32(nearest + _i32(127)) << _i32(23)).view(_f32) * (_ONE + r * (_ONE + r * tail))


@numba.njit(inline="always")
def _clip(step: Any) -> Any:
    return min(_MAX_STEP, max(-_MAX_STEP, step))


# No fastmath: cached code would then round differently from code compiled in this process.
@numba.njit(parallel=True, cache=True)
def _epoch(
    old: Any,
    new: Any,
    row_start: Any,
    neighbor: Any,
    rate: Any,
    epoch: int,
    a: Any,
    b: Any,
    step: Any,
    key: Any,
) -> None:
    num_vertices = len(old)
    for j in numba.prange(num_vertices):
        x, y = old[j, 0], old[j, 1]
        base = _mix(_u32(key ^ _u32(j)))
        for e in range(row_start[j], row_start[j + 1]):
            edge_rate = np.int64(rate[e])
            if ((epoch + 1) * edge_rate) >> _RATE_BITS == (epoch * edge_rate) >> _RATE_BITS:
                continue
            k = np.int64(neighbor[e])
            dx, dy = x - old[k, 0], y - old[k, 1]
            square = dx * dx + dy * dy
            if square > _ZERO:
                power = _power(square, b)
                slope = -_TWO * a * b * power / (square * (a * power + _ONE))
                x += _PULL * step * _clip(slope * dx)
                y += _PULL * step * _clip(slope * dy)
            draw = _u32(_u32(e - row_start[j]) * _u32(_NUM_PUSHES))
            push_x, push_y = _ZERO, _ZERO
            for s in range(_NUM_PUSHES):
                bits = _mix(_u32(base + _u32(_u32(draw + _u32(s)) * _GOLDEN)))
                k = np.int64((_u64(bits) * _u64(num_vertices)) >> _u64(32))
                dx, dy = x - old[k, 0], y - old[k, 1]
                square = dx * dx + dy * dy
                slope = _TWO * b / ((_SOFTENING + square) * (a * _power(square, b) + _ONE))
                if k == j:
                    slope = _ZERO
                push_x += _clip(slope * dx)
                push_y += _clip(slope * dy)
            x += step * push_x
            y += step * push_y
        new[j, 0], new[j, 1] = x, y
