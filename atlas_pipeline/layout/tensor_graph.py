"""UMAP's fuzzy graph and its edges on tensors: on a GPU, or on a CPU in tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.layout.search import Neighbors
from atlas_pipeline.layout.umap_edges import RATE_BITS, Edges

# umap-learn's values: bisections, error of the sum of memberships, least scale relative to a mean distance.
_NUM_BISECTIONS, _TOLERANCE, _LEAST_SCALE = 64, 1e-5, 1e-3


@dataclass(frozen=True, slots=True)
class TensorEdges:
    """Edges on a device, by head and then by neighbour, each stored at both ends.

    row_start: (vertex + 1,) int64. neighbor, rate: (edge,) int64, as in ``Edges``.
    """

    row_start: Tensor
    neighbor: Tensor
    rate: Tensor

    @property
    def num_vertices(self) -> int:
        return len(self.row_start) - 1


def edges_on(edges: Edges, device: str) -> TensorEdges:
    """Edges of the host's memory, on a device."""
    parts = (edges.row_start, edges.neighbor, edges.rate)
    return TensorEdges(*(torch.from_numpy(part).to(device).long() for part in parts))


def fuzzy_edges(neighbors: Neighbors, k: int, num_epochs: int, device: str) -> TensorEdges:
    """Edges of the fuzzy union of each vertex's k neighbours that are due at least once.

    Equal to ``build_edges`` of umap-learn's graph, except that a rate may differ by 1.

    Args: neighbors: indices and distances (vertex, neighbour), each vertex its own first neighbour.
    """
    num_vertices = len(neighbors[0])
    if k < 2:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        return TensorEdges(torch.zeros(num_vertices + 1, dtype=torch.int64, device=device), none, none)
    near = torch.from_numpy(neighbors[0][:, :k]).to(device).long()
    distances = torch.from_numpy(neighbors[1][:, :k]).to(device)
    head, neighbor, weight = fuzzy_union(near, memberships(near, distances))
    rate = (weight * ((1 << RATE_BITS) / weight.max())).round().long()
    due = rate * num_epochs >= 1 << RATE_BITS
    head, neighbor, rate = head[due], neighbor[due], rate[due]
    bounds = torch.arange(num_vertices + 1, device=device)
    return TensorEdges(torch.searchsorted(head, bounds), neighbor, rate)


def memberships(near: Tensor, distances: Tensor) -> Tensor:
    """Membership of each neighbour: (vertex, neighbour) float32, 0 for the vertex itself.

    A vertex's distances less the smallest positive one are scaled so that its memberships sum to
    log2(neighbours).

    Source: umap-learn, smooth_knn_dist and compute_membership_strengths, with local_connectivity 1.
    """
    exact = distances.double()
    nearest = torch.where(exact > 0, exact, torch.inf).amin(dim=1)
    nearest = torch.where(nearest < torch.inf, nearest, 0)
    beyond = (exact - nearest[:, None]).clamp(min=0)
    scale = _scales(beyond[:, 1:], math.log2(near.shape[1]))
    own_mean, mean = exact.mean(dim=1), exact.mean()
    scale = torch.maximum(scale, _LEAST_SCALE * torch.where(nearest > 0, own_mean, mean))
    value = torch.where(beyond > 0, torch.exp(-beyond / scale[:, None]), 1)
    itself = near == torch.arange(len(near), device=near.device)[:, None]
    return value.masked_fill(itself, 0).float()


def _scales(beyond: Tensor, target: float) -> Tensor:
    """(vertex,) scales at which the memberships (vertex, neighbour) sum to the target, by bisection."""
    low = torch.zeros_like(beyond[:, 0])
    high, scale = torch.full_like(low, torch.inf), torch.ones_like(low)
    is_done = torch.zeros_like(low, dtype=torch.bool)
    for _ in range(_NUM_BISECTIONS):
        total = torch.exp(-beyond / scale[:, None]).sum(dim=1)
        is_done |= (total - target).abs() < _TOLERANCE
        is_above = total > target
        high = torch.where(is_above, scale, high)
        low = torch.where(is_above, low, scale)
        between = torch.where(high < torch.inf, (low + high) / 2, scale * 2)
        scale = torch.where(is_done, scale, between)
    return scale


def fuzzy_union(near: Tensor, membership: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges of the fuzzy union a + b - a b of both directions: heads, neighbours, weights, (edge,) each.

    They are sorted by head and neighbour. Both directions of an edge have the same weight.
    """
    num_vertices, k = near.shape
    head = torch.arange(num_vertices, device=near.device).repeat_interleave(k)
    tail, one_way = near.flatten(), membership.flatten()
    key, order = torch.cat([head * num_vertices + tail, tail * num_vertices + head]).sort(stable=True)
    weight = torch.cat([one_way, one_way])[order]
    # An edge occurs twice if each end is a neighbour of the other.
    follows = torch.zeros_like(key, dtype=torch.bool)
    follows[1:] = key[1:] == key[:-1]
    other = torch.zeros_like(weight)
    other[:-1] = torch.where(follows[1:], weight[1:], 0)
    weight = weight + other - weight * other
    is_edge = ~follows & (weight > 0)
    key, weight = key[is_edge], weight[is_edge]
    return key // num_vertices, key % num_vertices, weight
