"""Definitions that the two parallel optimisers share: edges, when they are due, and UMAP's constants.

The scheme: a vertex reads the positions of all others at the start of the epoch and writes its own at the
end, so vertices can be moved in any order or all at once. Each vertex processes its edges in order: the edge
pulls it, then five random vertices push it, all seen from the same position. An edge is stored at both ends.
Random vertices are drawn by a hash of seed, epoch, vertex and edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

# umap-learn's values: random vertices per pull, largest step along an axis, term that keeps a push finite.
NUM_PUSHES, MAX_STEP, SOFTENING = 5, 4.0, 1e-3
# umap-learn moves both ends of an edge each time; here each end processes only its own copy.
PULL = 2.0
# An edge with rate 2 ** RATE_BITS is due in every epoch.
RATE_BITS = 16
# The murmur3 finaliser (Appleby 2008) on 32 bits: simple on tensors and in compiled code.
MIX_FIRST, MIX_SECOND, GOLDEN = 0x85EBCA6B, 0xC2B2AE35, 0x9E3779B9


@dataclass(frozen=True, slots=True)
class Force:
    """UMAP's similarity curve 1 / (1 + a d^2b)."""

    a: float
    b: float


@dataclass(frozen=True)
class Edges:
    """A graph in compressed rows.

    row_start: (vertex + 1,) int64. neighbor: (edge,) int32. rate: (edge,) int32: an edge is due in epoch n if
    n * rate / 2^16 passes a whole number between n and n + 1.
    """

    row_start: NDArray[np.int64]
    neighbor: NDArray[np.int32]
    rate: NDArray[np.int32]

    @cached_property
    def degree(self) -> NDArray[np.int64]:
        """(vertex,): number of edges of each vertex."""
        return np.diff(self.row_start)


def build_edges(graph: scipy.sparse.spmatrix, num_epochs: int) -> Edges:
    """Edges that are due at least once in ``num_epochs``; the rate is proportional to the weight."""
    rows = graph.tocsr()
    rows.sort_indices()
    largest = rows.data.max(initial=0.0)
    rate = np.rint(rows.data * ((1 << RATE_BITS) / largest if largest > 0 else 0.0)).astype(np.int32)
    due = rate.astype(np.int64) * num_epochs >= 1 << RATE_BITS
    before = np.concatenate([[0], np.cumsum(due)])
    return Edges(before[rows.indptr], rows.indices[due].astype(np.int32), rate[due])


def epoch_key(seed: int, epoch: int) -> int:
    """A 32-bit hash key for a seed and an epoch."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def step_size(epoch: int, num_epochs: int) -> float:
    """Step size: 1 in the first epoch, falling linearly to 0 after the last."""
    return 1.0 - epoch / num_epochs
