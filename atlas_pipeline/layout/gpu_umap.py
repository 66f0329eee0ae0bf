"""UMAP's optimisation on tensors, by the scheme of ``umap_edges``: on a GPU, or on a CPU in tests.

A vertex is split into rows of at most 32 edges, which start from its position together; the vertex moves by
the mean of their movements. Up to 32 edges this is the scheme itself. So an epoch takes no more launches for
a vertex of a million edges than for one of 32, and a GPU replays it as one graph.

Rows are sorted by falling length, so the rows with an e-th edge form a prefix. The e-th edges of all rows are
one slice in which every row occurs once. The code needs no scatter; the movements of a split vertex are added
as integers, whose sum does not depend on the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.layout import umap_edges
from atlas_pipeline.layout.tensor_graph import TensorEdges
from atlas_pipeline.layout.umap_edges import NUM_PUSHES, RATE_BITS, Force, epoch_key, step_size

EDGES_PER_ROW = 32
_LOW_32 = 0xFFFFFFFF
# Movements of split vertices are added in steps of 2^-32.
_STEPS_PER_UNIT = 2.0**32


def gpu_layouts(
    edges: TensorEdges,
    starts: Sequence[NDArray[np.float32]],
    force: Force,
    num_epochs: int,
    seeds: Sequence[int],
) -> list[NDArray[np.float32]]:
    """Optimise all vertices in parallel, epoch by epoch, from several starts at once.

    Args:    edges: on the device that computes. starts: (vertex, 2) for each seed.
    Returns: (vertex, 2) for each seed; bitwise the same on the same GPU and torch, whatever other seeds are
             laid out with it. Without vertices of more than 32 edges it equals ``parallel_layout`` up to
             rounding in the first epochs; the differences then grow, as in any such optimisation.
    """
    if not len(edges.neighbor):
        return [start.astype(np.float32) for start in starts]
    device = edges.neighbor.device
    seen = torch.from_numpy(np.stack(starts).astype(np.float32)).to(device)
    optimiser = _Optimiser(edges, seen, force, num_epochs, seeds)
    _repeat(optimiser.epoch, num_epochs, device)
    return list(optimiser.seen.cpu().numpy())


def _repeat(work: Callable[[], None], times: int, device: torch.device) -> None:
    """Do fixed work several times; on a GPU the first time prepares the libraries, the others replay it."""
    if device.type != "cuda":
        for _ in range(times):
            work()
        return
    with torch.cuda.device(device):
        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            work()
        torch.cuda.current_stream(device).wait_stream(aside)
        if times == 1:
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        for _ in range(1, times):
            graph.replay()


class _Rows:
    """Rows of at most ``EDGES_PER_ROW`` edges of one vertex, by falling length.

    vertex, first: (row,) int64, the vertex, and the position of the row's first edge among its edges. counts:
    number of rows with an e-th edge, for each e. neighbor, rate: (edge,), all first edges, then all second
    ones. whole, row_of_whole: vertices of a single row, and that row. split: vertices of several; their rows,
    the number of each row's vertex among ``split``, and the number of rows of each.
    """

    def __init__(self, edges: TensorEdges) -> None:
        device = edges.row_start.device
        degree = edges.row_start.diff()
        num_rows = (degree + (EDGES_PER_ROW - 1)).div(EDGES_PER_ROW, rounding_mode="floor").clamp(min=1)
        vertex = torch.arange(edges.num_vertices, device=device).repeat_interleave(num_rows)
        before = (num_rows.cumsum(0) - num_rows)[vertex]
        first = (torch.arange(len(vertex), device=device) - before) * EDGES_PER_ROW
        length = (degree[vertex] - first).clamp(max=EDGES_PER_ROW)
        length, order = length.sort(descending=True, stable=True)
        self.vertex, self.first = vertex[order], first[order]
        ends = -torch.arange(EDGES_PER_ROW, device=device)
        self.counts = [count for count in torch.searchsorted(-length, ends).tolist() if count]
        start = edges.row_start[self.vertex] + self.first
        edge = torch.cat([start[:count] + e for e, count in enumerate(self.counts)])
        self.neighbor, self.rate = edges.neighbor[edge], edges.rate[edge]

        is_split = num_rows > 1
        row = torch.empty_like(degree)
        row[self.vertex] = torch.arange(len(vertex), device=device)
        self.whole = (~is_split).nonzero().squeeze(1)
        self.row_of_whole = row[self.whole]
        self.split = is_split.nonzero().squeeze(1)
        self.rows_of_split = is_split[self.vertex].nonzero().squeeze(1)
        self.number_of_split = torch.searchsorted(self.split, self.vertex[self.rows_of_split])
        self.num_rows_of_split = num_rows[self.split]


class _Optimiser:
    """The state of the layouts of several seeds; shapes and launches of an epoch are always the same.

    seen: (seed, vertex, 2) float32.
    """

    def __init__(
        self, edges: TensorEdges, seen: Tensor, force: Force, num_epochs: int, seeds: Sequence[int]
    ) -> None:
        device = seen.device
        self.seen, self.force, self.rows = seen, force, _Rows(edges)
        keys = [[epoch_key(seed, epoch) for seed in seeds] for epoch in range(num_epochs)]
        self.keys = torch.tensor(keys, dtype=torch.int64, device=device)
        steps = [step_size(epoch, num_epochs) for epoch in range(num_epochs)]
        self.steps = torch.tensor(steps, dtype=torch.float32, device=device)
        self.now = torch.zeros(1, dtype=torch.int64, device=device)
        draws = torch.arange(EDGES_PER_ROW * NUM_PUSHES, device=device) * umap_edges.GOLDEN
        self.draws = draws.reshape(EDGES_PER_ROW, NUM_PUSHES)
        # Layouts of all seeds are one list of positions for the random vertices.
        num_seeds, num_vertices, _ = seen.shape
        self.offset = (torch.arange(num_seeds, device=device) * num_vertices)[:, None, None]

    def epoch(self) -> None:
        """Move every vertex once along each of its edges that are due."""
        rows = self.rows
        step = self.steps[self.now]
        key = self.keys[self.now].T
        due = ((self.now + 1) * rows.rate >> RATE_BITS) > (self.now * rows.rate >> RATE_BITS)
        base = _mix(rows.vertex ^ key) + rows.first * (NUM_PUSHES * umap_edges.GOLDEN)
        moved = self.seen[:, rows.vertex]
        start = 0
        for slot, count in enumerate(rows.counts):
            edge = slice(start, start + count)
            self._move(moved[:, :count], rows.neighbor[edge], due[edge], base[:, :count], slot, step)
            start += count
        self._gather(moved)
        self.now += 1

    def _move(
        self, own: Tensor, neighbor: Tensor, due: Tensor, base: Tensor, slot: int, step: Tensor
    ) -> None:
        """Apply the e-th edge of every row that has one, and its pushes; edges that are not due move by 0."""
        force, num_vertices = self.force, self.seen.shape[1]
        away = own - self.seen[:, neighbor]
        square = _square(away)
        power = square**force.b
        slope = power * (-2 * force.a * force.b)
        # At distance 0 the power is 0 as well, and so is the slope.
        slope /= torch.addcmul(square, square, power, value=force.a).clamp_(min=torch.finfo(own.dtype).tiny)
        pulled = torch.addcmul(own, _clipped(slope, away), step, value=umap_edges.PULL)

        bits = _mix((base[..., None] + self.draws[slot]) & _LOW_32)
        other = (bits * num_vertices) >> 32
        seen = self.seen.flatten(0, 1)[other + self.offset]
        away = pulled[:, :, None, :] - seen
        square = _square(away)
        power = square**force.b
        soft = square + umap_edges.SOFTENING
        slope = (2 * force.b) / torch.addcmul(soft, soft, power, value=force.a)
        slope.masked_fill_(other == self.rows.vertex[: own.shape[1], None], 0)
        pushes = _clipped(slope, away).unbind(dim=2)
        # Added one by one: a sum's order could depend on how many layouts there are.
        push = pushes[0]
        for further in pushes[1:]:
            push = push + further
        own.copy_(torch.where(due[:, None], torch.addcmul(pulled, push, step), own))

    def _gather(self, moved: Tensor) -> None:
        """Move the vertices to where their rows (seed, row, 2) went."""
        rows = self.rows
        if len(rows.split):
            before = self.seen[:, rows.split]
            movement = moved[:, rows.rows_of_split] - before[:, rows.number_of_split]
            total = torch.zeros(before.shape, dtype=torch.int64, device=before.device)
            total.index_add_(1, rows.number_of_split, (movement.double() * _STEPS_PER_UNIT).long())
            mean = total.double() / (rows.num_rows_of_split[:, None] * _STEPS_PER_UNIT)
            self.seen[:, rows.split] = before + mean.float()
        self.seen[:, rows.whole] = moved[:, rows.row_of_whole]


def _square(away: Tensor) -> Tensor:
    x, y = away.unbind(dim=-1)
    return torch.addcmul(x * x, y, y)


def _clipped(slope: Tensor, away: Tensor) -> Tensor:
    return (slope[..., None] * away).clamp_(-umap_edges.MAX_STEP, umap_edges.MAX_STEP)


def _mix(bits: Tensor) -> Tensor:
    """32-bit hash in an int64: the product overflows, but its lower half is exact."""
    bits = ((bits ^ (bits >> 16)) * umap_edges.MIX_FIRST) & _LOW_32
    bits = ((bits ^ (bits >> 13)) * umap_edges.MIX_SECOND) & _LOW_32
    return bits ^ (bits >> 16)
