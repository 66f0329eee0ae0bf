"""What both parallel optimisers share: edges, when they are due, and the numbers of UMAP's force.

The scheme. A vertex reads where all others were when the epoch began and writes where it is when it ends; so
vertices can be moved in any order, or all at once. Each goes through its own edges one after the other: the
edge pulls it, then five random vertices, all seen from the same place, push it. An edge is stored at both of
its ends. Random vertices are drawn by a hash of seed, epoch, vertex and edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

# umap-learn's own: random vertices a pull, largest step along an axis, what keeps a push finite.
NUM_PUSHES, MOST_STEP, SOFTENING = 5, 4.0, 1e-3
# umap-learn moves both ends of an edge each time; here each end sees its own copy alone.
PULL = 2.0
# A rate in full steps is an edge that is due in every epoch.
RATE_BITS = 16
# The murmur3 finaliser (Appleby 2008) on 32 bits: as easy on tensors as in compiled code.
MIX_FIRST, MIX_SECOND, GOLDEN = 0x85EBCA6B, 0xC2B2AE35, 0x9E3779B9


@dataclass(frozen=True, slots=True)
class Force:
    """UMAP's curve 1 / (1 + a d^2b)."""

    a: float
    b: float


@dataclass(frozen=True)
class Edges:
    """A graph by its rows.

    row_start: (vertex + 1,) int64. neighbor: (edge,) int32. rate: (edge,) int32, how often an edge is due: in
    epoch n if n * rate / 2^16 passes a whole number between n and n + 1.
    """

    row_start: NDArray[np.int64]
    neighbor: NDArray[np.int32]
    rate: NDArray[np.int32]

    @cached_property
    def degree(self) -> NDArray[np.int64]:
        """(vertex,)."""
        return np.diff(self.row_start)


def edges_of(graph: scipy.sparse.spmatrix, num_epochs: int) -> Edges:
    """The edges that are due at least once in so many epochs, as often as they are heavy."""
    rows = graph.tocsr()
    rows.sort_indices()
    largest = rows.data.max(initial=0.0)
    rate = np.rint(rows.data * ((1 << RATE_BITS) / largest if largest > 0 else 0.0)).astype(np.int32)
    due = rate.astype(np.int64) * num_epochs >= 1 << RATE_BITS
    before = np.concatenate([[0], np.cumsum(due)])
    return Edges(before[rows.indptr], rows.indices[due].astype(np.int32), rate[due])


def epoch_key(seed: int, epoch: int) -> int:
    """32 bits that stand for a seed and an epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def step_size(epoch: int, num_epochs: int) -> float:
    """1 in the first epoch, falling to 0 after the last."""
    return 1.0 - epoch / num_epochs
