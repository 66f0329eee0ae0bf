"""The nearest activations of every activation: exactly, tile by tile, or approximately."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Metric = Literal["cosine", "euclidean"]
Method = Literal["auto", "exact", "approximate"]
Neighbors = tuple[NDArray[np.int32], NDArray[np.float32]]

# The exact search is quadratic: up to here it takes under a minute on two cores.
EXACT_UP_TO = 65_536

# Candidates beyond k, so that float32 noise in the scores cannot cost a true neighbour.
_SPARE = 8
# Scores closer than this, relative to the largest, may be equal ones that differ by rounding.
_SAME_SCORE = 2.0**-20
# Scores at a time. On a CPU a tile that stays near the caches is a third faster than a large one.
_TILE_CPU, _TILE_GPU = 1 << 23, 1 << 27


def neighbors(
    activations: NDArray[np.floating],
    num_neighbors: int,
    *,
    metric: Metric = "cosine",
    method: Method = "auto",
    seed: int = 0,
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Neighbors:
    """The nearest activations of each, itself first; see ``exact_neighbors`` for arguments and result.

    ``auto`` searches exactly up to 65,536 activations and approximately beyond: by their number alone, so
    that the machine does not decide what comes out.
    """
    if method == "exact" or (method == "auto" and len(activations) <= EXACT_UP_TO):
        return exact_neighbors(activations, num_neighbors, metric, device, advance)
    return approximate_neighbors(activations, num_neighbors, metric, seed, device, advance)


def exact_neighbors(
    activations: NDArray[np.floating],
    num_neighbors: int,
    metric: Metric = "cosine",
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Neighbors:
    """Nearest activations by comparing all with all, tile by tile; deterministic.

    An activation comes first among its own neighbours, then the others by distance, equals by index. Two
    activations of zeros have cosine distance 0, one of zeros and another one 1.

    Args:    activations: (activation, channel), finite. num_neighbors: itself included.
             advance: told the number of activations done, after each tile.
    Returns: indices int32 and distances float32, each (activation, neighbour), as many
             neighbours as there are activations where those are fewer. Cosine distance is 1 - cosine.
             Where more than ``_SPARE`` activations are as far as the last neighbour to within 1e-6, relative
             to the longest vector, those of lowest index are kept.
    Raises:  ValueError: NaN or infinite activations.
    """
    search = _Search(activations, metric, device)
    num_rows = len(activations)
    k = min(num_neighbors, num_rows)
    indices = np.empty((num_rows, k), np.int32)
    distances = np.empty((num_rows, k), np.float32)
    for start in range(0, num_rows, search.tile):
        stop = min(start + search.tile, num_rows)
        indices[start:stop], distances[start:stop] = search.nearest(np.arange(start, stop), k)
        if advance:
            advance(stop - start)
    return indices, distances


def approximate_neighbors(
    activations: NDArray[np.floating],
    num_neighbors: int,
    metric: Metric = "cosine",
    seed: int = 0,
    device: str = "cpu",
    advance: Callable[[int], None] | None = None,
) -> Neighbors:
    """Nearest activations by nearest-neighbour descent (pynndescent): a few in 10,000 are missed.

    Arguments, result and order as ``exact_neighbors``, with true distances; rows that the descent leaves
    incomplete are searched exactly. On another number of threads about 1 row in 30,000 comes out differently.

    Source: Dong, Moses and Li 2011.
    """
    search = _Search(activations, metric, device)
    num_rows = len(activations)
    k = min(num_neighbors, num_rows)
    found = search.descend(k, seed)
    indices = np.empty((num_rows, k), np.int32)
    distances = np.empty((num_rows, k), np.float32)
    for start in range(0, num_rows, search.tile):
        rows = np.arange(start, min(start + search.tile, num_rows))
        whole = (found[rows] >= 0).all(axis=1)
        for some, candidates in ((rows[whole], found[rows[whole]]), (rows[~whole], None)):
            if len(some):
                indices[some], distances[some] = search.nearest(some, k, candidates)
        if advance:
            advance(len(rows))
    return indices, distances


class _Search:
    """Activations as vectors whose Euclidean distances order them as the metric does."""

    def __init__(self, activations: NDArray[np.floating], metric: Metric, device: str):
        import torch

        vectors = torch.from_numpy(np.ascontiguousarray(activations, dtype=np.float32))
        if not bool(torch.isfinite(vectors).all()):
            raise ValueError("activations hold NaN or infinite values; they have no neighbours")
        vectors = vectors.to(device)
        self.metric = metric
        self.vectors = _unit_vectors(vectors) if metric == "cosine" else vectors - vectors.mean(dim=0)
        self.half_squares = (self.vectors**2).sum(dim=1) / 2
        self.resolution = float(self.half_squares.max()) * _SAME_SCORE if len(vectors) else 0.0
        self.at_once = _TILE_CPU if device == "cpu" else _TILE_GPU
        self.tile = min(1024, max(32, self.at_once // max(len(vectors), 1)))

    def descend(self, k: int, seed: int) -> NDArray[np.int64]:
        """(activation, candidate) a few more than k; -1 where the descent found none."""
        from pynndescent import NNDescent

        vectors = self.vectors.cpu().numpy()
        wanted = min(k + _SPARE, len(vectors))
        state = np.random.RandomState(np.random.PCG64(seed))
        with warnings.catch_warnings():
            # It warns of incomplete rows: we complete them.
            warnings.simplefilter("ignore", UserWarning)
            index = NNDescent(vectors, metric="euclidean", n_neighbors=wanted, random_state=state)
        return index.neighbor_graph[0].astype(np.int64)

    def nearest(
        self, rows: NDArray[np.int64], k: int, candidates: NDArray[np.int64] | None = None
    ) -> Neighbors:
        """The k nearest of each row: indices and distances, each (row, k), itself first."""
        import torch

        own = torch.from_numpy(rows).to(self.vectors.device)
        near = self._candidates(own, k) if candidates is None else torch.from_numpy(candidates).to(own.device)
        near = near.sort(dim=1).values
        few = max(1, self.at_once // (near.shape[1] * self.vectors.shape[1]))
        square = torch.cat(
            [self._squares(*part) for part in zip(own.split(few), near.split(few), strict=True)]
        )
        square[near == own[:, None]] = -1.0
        square, order = square.sort(dim=1, stable=True)
        square, near = square[:, :k].clamp(min=0), near.gather(1, order)[:, :k]
        distances = square / 2 if self.metric == "cosine" else square.sqrt()
        return near.to(torch.int32).cpu().numpy(), distances.cpu().numpy()

    def _squares(self, own: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        # From differences: the cosine itself would lose the small distances, and copies would not be at 0.
        return ((self.vectors[near] - self.vectors[own][:, None, :]) ** 2).sum(dim=2)

    def _candidates(self, own: torch.Tensor, k: int) -> torch.Tensor:
        """(row, candidate) a few more than k, itself among them."""
        import torch

        num_vectors = len(self.vectors)
        wanted = min(k + _SPARE, num_vectors)
        scores = torch.addmm(-self.half_squares, self.vectors[own], self.vectors.T)
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
        """(row, candidate): the highest scores, those within the resolution of each other by index."""
        import torch

        num_vectors, step = len(self.vectors), max(self.resolution, torch.finfo(torch.float32).tiny)
        # Whole steps from the k-th score, which equals of it round to 0; infinity (itself) to the top.
        level = ((scores - border).nan_to_num(nan=0.0) / step).round().clamp(-(2**24), 2**24).to(torch.int64)
        backwards = torch.arange(num_vectors - 1, -1, -1, device=scores.device)
        return (level * num_vectors + backwards).topk(wanted, dim=1).indices


def _unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Rows of length 1; zeros become a direction of their own, at right angles to all others."""
    import torch

    norms = vectors.norm(dim=1, keepdim=True)
    unit = vectors / torch.where(norms > 0, norms, 1)
    if bool((norms == 0).any()):
        unit = torch.cat([unit, (norms == 0).to(unit.dtype)], dim=1)
    return unit
