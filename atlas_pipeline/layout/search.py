"""Nearest vectors, by comparing all with all or by descent: what ``neighbors`` asks for every row."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.layout.distinct import as_seen
from atlas_pipeline.numerics.blocks import Blocks, in_order
from atlas_pipeline.numerics.near_rows import Metric

if TYPE_CHECKING:
    import torch
    from pynndescent import NNDescent

Neighbors = tuple[NDArray[np.int32], NDArray[np.float32]]

# Candidates beyond k, so that float32 noise in the scores cannot cost a true neighbour.
_SPARE = 8
# Scores closer than this, relative to the largest, may be equal ones that differ by rounding.
_SAME_SCORE = 2.0**-20
# Scores at a time. On a CPU a tile that stays near the caches is a third faster than a large one.
_TILE_CPU, _TILE_GPU = 1 << 23, 1 << 27
# Vectors of which the mean is taken at a time, in float64.
_ROWS_AT_ONCE = 4096


class VectorSearch:
    """Activations as vectors whose Euclidean distances order them as the metric does.

    They are kept once, as float32, on the device: activations x channels x 4 bytes.

    Args:    activations: (activation, channel) blocks, finite. searched: the rows among which neighbours are
             searched, none twice, in the order in which they are numbered and equals come. has_zeros: a row
             that is searched or asked for is all zeros.
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
        # Rows of zeros become a direction of their own, at right angles to all others.
        self.extra = int(has_zeros and metric == "cosine")
        num_rows = len(searched)
        self.vectors = torch.empty((num_rows, 0), device=device)
        self.mean: torch.Tensor | None = None
        for places, block in in_order(activations, searched):
            if not self.vectors.shape[1]:
                self.vectors = torch.empty((num_rows, block.shape[1] + self.extra), device=device)
            self.vectors[torch.from_numpy(places).to(device)] = self.vectors_of(block)
        if metric == "euclidean":
            self._centre()
        self.half_squares = torch.empty(num_rows, device=device)
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            part = self.vectors[start : start + _ROWS_AT_ONCE]
            self.half_squares[start : start + _ROWS_AT_ONCE] = (part**2).sum(dim=1) / 2
        self.resolution = float(self.half_squares.max()) * _SAME_SCORE if num_rows else 0.0
        self.at_once = _TILE_CPU if device == "cpu" else _TILE_GPU
        self.tile = min(1024, max(32, self.at_once // max(num_rows, 1)))
        self.index: NNDescent | None = None

    def _centre(self) -> None:
        """Far from the origin float32 would lose the distances; summed in the order of the vectors."""
        total = sum(part.double().sum(dim=0) for part in self.vectors.split(_ROWS_AT_ONCE))
        self.mean = (total / max(len(self.vectors), 1)).float()
        self.vectors -= self.mean

    def vectors_of(self, activations: NDArray[np.floating]) -> torch.Tensor:
        """(row, channel) float32 on the device, as the metric needs them."""
        import torch

        vectors = torch.from_numpy(as_seen(activations, self.metric)).to(self.device)
        if self.metric == "euclidean":
            return vectors if self.mean is None else vectors - self.mean
        norms = vectors.norm(dim=1, keepdim=True)
        unit = vectors / torch.where(norms > 0, norms, 1)
        return torch.cat([unit, (norms == 0).to(unit.dtype)], dim=1) if self.extra else unit

    def descend(self, k: int, seed: int) -> NDArray[np.int32]:
        """(row, candidate) a few more than k of each searched row; -1 where the descent found none."""
        from pynndescent import NNDescent

        vectors = self.vectors.cpu().numpy()
        wanted = min(k + _SPARE, len(vectors))
        state = np.random.RandomState(np.random.PCG64(seed))
        with warnings.catch_warnings():
            # It warns of incomplete rows: we complete them.
            warnings.simplefilter("ignore", UserWarning)
            self.index = NNDescent(vectors, metric="euclidean", n_neighbors=wanted, random_state=state)
        return self.index.neighbor_graph[0]

    def query(self, asked: torch.Tensor, k: int) -> NDArray[np.int32]:
        """(asked, candidate) a few more than k of rows that are not searched, after ``descend``."""
        assert self.index is not None
        return self.index.query(asked.cpu().numpy(), k=min(k + _SPARE, len(self.vectors)))[0]

    def nearest(
        self,
        asked: torch.Tensor,
        k: int,
        own: NDArray[np.int64] | None = None,
        found: NDArray[np.int32] | None = None,
    ) -> Neighbors:
        """The k nearest searched rows of each asked vector: indices and distances, each (asked, k).

        Args: asked: (asked, channel), of ``vectors_of``. own: the asked ones' places among the searched rows,
              if they are: each then comes first. found: (asked, candidate), of which the k nearest are kept;
              rows that hold a -1, or all without it, are compared with every searched row.
        """
        import torch

        whole = np.zeros(len(asked), bool) if found is None else (found >= 0).all(axis=1)
        indices, distances = np.empty((len(asked), k), np.int32), np.empty((len(asked), k), np.float32)
        for some, candidates in ((whole, found), (~whole, None)):
            if some.any():
                vectors = asked if some.all() else asked[torch.from_numpy(some).to(asked.device)]
                places = None if own is None else torch.from_numpy(own[some]).to(asked.device)
                near = None if candidates is None else torch.from_numpy(candidates[some]).to(asked.device)
                indices[some], distances[some] = self._ranked(vectors, k, places, near)
        return indices, distances

    def _ranked(
        self, asked: torch.Tensor, k: int, own: torch.Tensor | None, near: torch.Tensor | None
    ) -> Neighbors:
        import torch

        near = (self._candidates(asked, k, own) if near is None else near.long()).sort(dim=1).values
        few = max(1, self.at_once // (near.shape[1] * self.vectors.shape[1]))
        square = torch.cat(
            [self._squares(*part) for part in zip(asked.split(few), near.split(few), strict=True)]
        )
        if own is not None:
            square[near == own[:, None]] = -1.0
        square, order = square.sort(dim=1, stable=True)
        square, near = square[:, :k].clamp(min=0), near.gather(1, order)[:, :k]
        distances = square / 2 if self.metric == "cosine" else square.sqrt()
        return near.to(torch.int32).cpu().numpy(), distances.cpu().numpy()

    def _squares(self, asked: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        # From differences: the cosine itself would lose the small distances, and copies would not be at 0.
        return ((self.vectors[near] - asked[:, None, :]) ** 2).sum(dim=2)

    def _candidates(self, asked: torch.Tensor, k: int, own: torch.Tensor | None) -> torch.Tensor:
        """(asked, candidate) a few more than k, itself among them."""
        import torch

        num_vectors = len(self.vectors)
        wanted = min(k + _SPARE, num_vectors)
        scores = torch.addmm(-self.half_squares, asked, self.vectors.T)
        if own is not None:
            scores[torch.arange(len(own), device=own.device), own] = torch.inf
        best, near = scores.topk(wanted, dim=1)
        if wanted == num_vectors:
            return near
        # As many equals as candidates (copies of one activation): topk took any of them, we take the first.
        crowded = best[:, k - 1] - best[:, -1] <= 2 * self.resolution
        if bool(crowded.any()):
            near[crowded] = self._first_of_equals(scores[crowded], best[crowded, k - 1, None], wanted)
        return near

    def _first_of_equals(self, scores: torch.Tensor, border: torch.Tensor, wanted: int) -> torch.Tensor:
        """(asked, candidate): the highest scores, those within the resolution of each other by index."""
        import torch

        num_vectors, step = len(self.vectors), max(self.resolution, torch.finfo(torch.float32).tiny)
        # Whole steps from the k-th score, which equals of it round to 0; infinity (itself) to the top.
        level = ((scores - border).nan_to_num(nan=0.0) / step).round().clamp(-(2**24), 2**24).to(torch.int64)
        backwards = torch.arange(num_vectors - 1, -1, -1, device=scores.device)
        return (level * num_vectors + backwards).topk(wanted, dim=1).indices
