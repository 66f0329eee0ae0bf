"""UMAP's optimisation on tensors, by the scheme of ``umap_edges``: on a GPU, or on a CPU in tests.

Vertices are sorted by falling degree, so the vertices with an e-th edge form a prefix. The e-th edges of all
vertices are one slice in which every vertex occurs once. The code needs no scatter and no atomic additions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.layout import umap_edges
from atlas_pipeline.layout.umap_edges import NUM_PUSHES, RATE_BITS, Edges, Force, epoch_key, step_size

_LOW_32 = 0xFFFFFFFF


def gpu_layout(
    edges: Edges, start: NDArray[np.float32], force: Force, num_epochs: int, seed: int, device: str
) -> NDArray[np.float32]:
    """Optimise all vertices in parallel, epoch by epoch.

    Args:    start: (vertex, 2).
    Returns: (vertex, 2); bitwise the same on the same GPU and torch. It equals ``parallel_layout`` up to
             rounding in the first epochs; the differences then grow, as in any such optimisation.
    """
    order = np.argsort(-edges.degree, kind="stable")
    slots = _Slots(edges, order, device)
    vertex = torch.from_numpy(order).to(device)
    place = torch.argsort(vertex)
    seen = torch.from_numpy(start.astype(np.float32)).to(device)
    for epoch in range(num_epochs):
        base = _mix(vertex ^ epoch_key(seed, epoch))
        moved = seen[vertex]
        for slot in range(len(slots.num_rows)):
            _move(moved, seen, vertex, base, slots, slot, force, epoch, step_size(epoch, num_epochs))
        seen = moved[place]
    return seen.cpu().numpy()


class _Slots:
    """Edges by position in their row. num_rows: for each e, the number of vertices with an e-th edge."""

    def __init__(self, edges: Edges, order: NDArray[np.int64], device: str):
        degree = edges.degree[order]
        self.num_rows = np.searchsorted(-degree, -np.arange(degree.max(initial=0)), side="left").tolist()
        self.row_start = torch.from_numpy(edges.row_start[:-1][order]).to(device)
        self.neighbor = torch.from_numpy(edges.neighbor).to(device)
        self.rate = torch.from_numpy(edges.rate).to(device)


def _move(
    moved: Tensor,
    seen: Tensor,
    vertex: Tensor,
    base: Tensor,
    slots: _Slots,
    slot: int,
    force: Force,
    epoch: int,
    step: float,
) -> None:
    """Apply the e-th edge of every vertex that has one, and its pushes; edges that are not due move by 0."""
    count = slots.num_rows[slot]
    edge = slots.row_start[:count] + slot
    rate = slots.rate[edge].long()
    due = (((epoch + 1) * rate) >> RATE_BITS) > ((epoch * rate) >> RATE_BITS)
    own = moved[:count]
    away = own - seen[slots.neighbor[edge].long()]
    square = (away**2).sum(dim=1, keepdim=True)
    power = square**force.b
    slope = -2 * force.a * force.b * power / (square * (force.a * power + 1))
    pulled = own + (umap_edges.PULL * step) * _clip(torch.where(square > 0, slope, 0) * away)

    draws = slot * NUM_PUSHES + torch.arange(NUM_PUSHES, device=seen.device)
    bits = _mix((base[:count, None] + draws * umap_edges.GOLDEN) & _LOW_32)
    other = (bits * len(seen)) >> 32
    away = pulled[:, None, :] - seen[other]
    square = (away**2).sum(dim=2)
    slope = 2 * force.b / ((umap_edges.SOFTENING + square) * (force.a * square**force.b + 1))
    slope = torch.where(other == vertex[:count, None], 0, slope)
    pushed = pulled + step * _clip(slope[..., None] * away).sum(dim=1)
    moved[:count] = torch.where(due[:, None], pushed, own)


def _clip(step: Tensor) -> Tensor:
    return step.clamp(-umap_edges.MAX_STEP, umap_edges.MAX_STEP)


def _mix(bits: Tensor) -> Tensor:
    """32-bit hash in an int64: the product overflows, but its lower half is exact."""
    bits = ((bits ^ (bits >> 16)) * umap_edges.MIX_FIRST) & _LOW_32
    bits = ((bits ^ (bits >> 13)) * umap_edges.MIX_SECOND) & _LOW_32
    return bits ^ (bits >> 16)
