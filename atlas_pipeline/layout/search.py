"""Nearest vectors, by comparing all pairs or by NN-descent; the search behind ``neighbors``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import canonical_vectors
from atlas_pipeline.layout.nn_descent import nn_descent
from atlas_pipeline.numerics.blocks import Blocks, rows_in_order
from atlas_pipeline.numerics.near_rows import Metric

if TYPE_CHECKING:
    import torch
    from pynndescent import NNDescent

Neighbors = tuple[NDArray[np.int32], NDArray[np.float32]]

# Extra candidates beyond k, so that float32 noise in the scores loses no true neighbour.
EXTRA_CANDIDATES = 8
# Vectors per float64 partial sum of the mean.
_ROWS_AT_ONCE = 4096


class VectorSearch:
    """Holds activations as vectors whose Euclidean distances have the same order as the metric's distances.

    The vectors are stored once, as float32 on the device: activations x channels x 4 bytes. ``ExactSearch``
    holds a bfloat16 copy as well where it makes use of one.

    Args:    activations: (activation, channel) blocks, finite. searched: unique rows among which neighbours
             are searched; their order defines the vector numbers and breaks ties. has_zeros: whether a
             searched or queried row is all zeros.
    """

    def __init__(
        self,
        activations: Blocks,
        searched: NDArray[np.int64],
        metric: Metric,
        device: str,
        has_zeros: bool = False,
    ):
        import torch

        from atlas_pipeline.layout.exact_search import ExactSearch

        self.metric, self.device = metric, device
        # An extra channel makes rows of zeros orthogonal to all other rows.
        self.extra = int(has_zeros and metric == "cosine")
        num_rows = len(searched)
        self.vectors = torch.empty((num_rows, 0), device=device)
        self.mean: torch.Tensor | None = None
        for places, block in rows_in_order(activations, searched):
            if not self.vectors.shape[1]:
                self.vectors = torch.empty((num_rows, block.shape[1] + self.extra), device=device)
            self.vectors[torch.from_numpy(places).to(device)] = self.to_vectors(block)
        if metric == "euclidean":
            self._centre()
        self.exact = ExactSearch(self.vectors, metric)
        self.index: NNDescent | None = None

    def _centre(self) -> None:
        """Subtract the mean: far from the origin float32 distances lose precision."""
        total = sum(part.double().sum(dim=0) for part in self.vectors.split(_ROWS_AT_ONCE))
        self.mean = (total / max(len(self.vectors), 1)).float()
        self.vectors -= self.mean

    def to_vectors(self, activations: NDArray[np.floating]) -> torch.Tensor:
        """Convert activations to vectors for the metric: (row, channel) float32 on the device."""
        import torch

        vectors = torch.from_numpy(canonical_vectors(activations, self.metric)).to(self.device)
        if self.metric == "euclidean":
            return vectors if self.mean is None else vectors - self.mean
        norms = vectors.norm(dim=1, keepdim=True)
        unit = vectors / torch.where(norms > 0, norms, 1)
        return torch.cat([unit, (norms == 0).to(unit.dtype)], dim=1) if self.extra else unit

    def descend(self, k: int, seed: int) -> NDArray[np.int32]:
        """NN-descent: (row, candidate), a few more than k for each searched row; -1 where none was found."""
        vectors = self.vectors.cpu().numpy()
        wanted = min(k + EXTRA_CANDIDATES, len(vectors))
        state = np.random.RandomState(np.random.PCG64(seed))
        with warnings.catch_warnings():
            # pynndescent warns of incomplete rows, which `nearest` completes.
            warnings.simplefilter("ignore", UserWarning)
            self.index = nn_descent()(vectors, metric="euclidean", n_neighbors=wanted, random_state=state)
        return self.index.neighbor_graph[0]

    def query(self, asked: torch.Tensor, k: int) -> NDArray[np.int32]:
        """Candidates of unsearched rows, after ``descend``: (asked, candidate), a few more than k."""
        assert self.index is not None
        return self.index.query(asked.cpu().numpy(), k=min(k + EXTRA_CANDIDATES, len(self.vectors)))[0]

    def nearest(
        self,
        asked: torch.Tensor,
        k: int,
        found: NDArray[np.int32] | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Neighbors:
        """The k nearest searched rows of each queried vector: indices and distances, each (asked, k).

        Args: asked: (asked, channel), from ``to_vectors``, or ``vectors`` itself: then each vector comes
              first among its own neighbours. found: (asked, candidate), from which the k nearest are kept.
              Rows that contain a -1, or all rows without ``found``, are compared with every searched row.
              advance: called with the number of rows just done.
        """
        import torch

        candidates = None if found is None else torch.from_numpy(found).to(self.device)
        indices, square = self.exact.nearest(asked, k, candidates, advance)
        distances = square / 2 if self.metric == "cosine" else square.sqrt()
        return indices.cpu().numpy(), distances.cpu().numpy()
