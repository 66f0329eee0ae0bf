"""Nearest vectors, by comparing all pairs or by NN-descent; the search behind ``neighbors``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import canonical_vectors
from atlas_pipeline.numerics.blocks import Blocks, rows_in_order
from atlas_pipeline.numerics.near_rows import Metric

if TYPE_CHECKING:
    import torch
    from pynndescent import NNDescent

Neighbors = tuple[NDArray[np.int32], NDArray[np.float32]]

# Extra candidates beyond k, so that float32 noise in the scores loses no true neighbour.
_EXTRA_CANDIDATES = 8
# Scores closer than this, relative to the largest, may be equal up to rounding.
_SAME_SCORE = 2.0**-20
# Scores per tile. On a CPU a tile that fits the caches is a third faster than a large one.
_TILE_CPU, _TILE_GPU = 1 << 23, 1 << 27
# Vectors per float64 partial sum of the mean.
_ROWS_AT_ONCE = 4096


class VectorSearch:
    """Holds activations as vectors whose Euclidean distances have the same order as the metric's distances.

    The vectors are stored once, as float32 on the device: activations x channels x 4 bytes.

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
        self.half_squares = torch.empty(num_rows, device=device)
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            part = self.vectors[start : start + _ROWS_AT_ONCE]
            self.half_squares[start : start + _ROWS_AT_ONCE] = (part**2).sum(dim=1) / 2
        self.resolution = float(self.half_squares.max()) * _SAME_SCORE if num_rows else 0.0
        self.scores_per_tile = _TILE_CPU if device == "cpu" else _TILE_GPU
        self.tile = min(1024, max(32, self.scores_per_tile // max(num_rows, 1)))
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
        from pynndescent import NNDescent

        vectors = self.vectors.cpu().numpy()
        wanted = min(k + _EXTRA_CANDIDATES, len(vectors))
        state = np.random.RandomState(np.random.PCG64(seed))
        with warnings.catch_warnings():
            # pynndescent warns of incomplete rows, which `nearest` completes.
            warnings.simplefilter("ignore", UserWarning)
            self.index = NNDescent(vectors, metric="euclidean", n_neighbors=wanted, random_state=state)
        return self.index.neighbor_graph[0]

    def query(self, asked: torch.Tensor, k: int) -> NDArray[np.int32]:
        """Candidates of unsearched rows, after ``descend``: (asked, candidate), a few more than k."""
        assert self.index is not None
        return self.index.query(asked.cpu().numpy(), k=min(k + _EXTRA_CANDIDATES, len(self.vectors)))[0]

    def nearest(
        self,
        asked: torch.Tensor,
        k: int,
        own: NDArray[np.int64] | None = None,
        found: NDArray[np.int32] | None = None,
    ) -> Neighbors:
        """The k nearest searched rows of each queried vector: indices and distances, each (asked, k).

        Args: asked: (asked, channel), from ``to_vectors``. own: positions of the queried vectors among the
              searched rows, if they are searched rows; each then comes first. found: (asked, candidate), from
              which the k nearest are kept. Rows that contain a -1, or all rows without ``found``, are
              compared with every searched row.
        """
        import torch

        complete = np.zeros(len(asked), bool) if found is None else (found >= 0).all(axis=1)
        indices, distances = np.empty((len(asked), k), np.int32), np.empty((len(asked), k), np.float32)
        for subset, candidates in ((complete, found), (~complete, None)):
            if subset.any():
                vectors = asked if subset.all() else asked[torch.from_numpy(subset).to(asked.device)]
                places = None if own is None else torch.from_numpy(own[subset]).to(asked.device)
                near = None if candidates is None else torch.from_numpy(candidates[subset]).to(asked.device)
                indices[subset], distances[subset] = self._rank(vectors, k, places, near)
        return indices, distances

    def _rank(
        self, asked: torch.Tensor, k: int, own: torch.Tensor | None, near: torch.Tensor | None
    ) -> Neighbors:
        import torch

        near = (self._candidates(asked, k, own) if near is None else near.long()).sort(dim=1).values
        chunk_rows = max(1, self.scores_per_tile // (near.shape[1] * self.vectors.shape[1]))
        square = torch.cat(
            [
                self._squared_distances(*part)
                for part in zip(asked.split(chunk_rows), near.split(chunk_rows), strict=True)
            ]
        )
        if own is not None:
            square[near == own[:, None]] = -1.0
        square, order = square.sort(dim=1, stable=True)
        square, near = square[:, :k].clamp(min=0), near.gather(1, order)[:, :k]
        distances = square / 2 if self.metric == "cosine" else square.sqrt()
        return near.to(torch.int32).cpu().numpy(), distances.cpu().numpy()

    def _squared_distances(self, asked: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        # Sum squared differences: a cosine loses small distances, and copies would not be at distance 0.
        return ((self.vectors[near] - asked[:, None, :]) ** 2).sum(dim=2)

    def _candidates(self, asked: torch.Tensor, k: int, own: torch.Tensor | None) -> torch.Tensor:
        """(asked, candidate), a few more than k, the vector itself included."""
        import torch

        num_vectors = len(self.vectors)
        wanted = min(k + _EXTRA_CANDIDATES, num_vectors)
        scores = torch.addmm(-self.half_squares, asked, self.vectors.T)
        if own is not None:
            scores[torch.arange(len(own), device=own.device), own] = torch.inf
        best, near = scores.topk(wanted, dim=1)
        if wanted == num_vectors:
            return near
        # Ties among all candidates (copies of one activation): topk picks arbitrarily, so take the first.
        tied = best[:, k - 1] - best[:, -1] <= 2 * self.resolution
        if bool(tied.any()):
            near[tied] = self._first_of_equals(scores[tied], best[tied, k - 1, None], wanted)
        return near

    def _first_of_equals(self, scores: torch.Tensor, border: torch.Tensor, wanted: int) -> torch.Tensor:
        """(asked, candidate) of highest score; scores within the resolution are ordered by index."""
        import torch

        num_vectors, step = len(self.vectors), max(self.resolution, torch.finfo(torch.float32).tiny)
        # Whole steps from the k-th score: equal scores round to 0; the vector itself (infinite) is clamped.
        level = ((scores - border).nan_to_num(nan=0.0) / step).round().clamp(-(2**24), 2**24).to(torch.int64)
        backwards = torch.arange(num_vectors - 1, -1, -1, device=scores.device)
        return (level * num_vectors + backwards).topk(wanted, dim=1).indices
