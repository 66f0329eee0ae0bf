"""The nearest vectors of each of many, by comparing all pairs on one device, without waiting for it.

Passes follow each other. Each handles the rows that the one before could not decide, and the host waits for
the device once a pass, to learn which rows these are:

1. On a GPU with bfloat16 products: candidates by ``CoarseVectors``, which proves most rows complete.
2. Candidates by float32 products. Rows with more equal scores than candidates are left undecided.
3. Candidates by float32 products, with equal scores ordered by vector number.

Every pass ranks its candidates by float32 sums of squared differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.layout.coarse import CoarseVectors, float32_sums
from atlas_pipeline.layout.search import EXTRA_CANDIDATES
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.device_memory import free_bytes, has_bfloat16_products
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.numerics.near_rows import Metric

# Scores closer than this, relative to the largest, may be equal up to rounding.
_SAME_SCORE = 2.0**-20
# Scores per tile. On a CPU a tile that fits the caches is a third faster than a large one.
_TILE_CPU, _LARGEST_TILE, _SMALLEST_TILE = 1 << 23, 1 << 31, 1 << 20
# A tile of a GPU holds up to 8 bytes a score at a time, in half of the free memory.
_BYTES_PER_SCORE = 16
# Rows of a GPU's tile: many rows make large products, and few leave room for long ones.
_FEWEST_ROWS, _MOST_ROWS = 1024, 16_384
_ROWS_AT_ONCE = 4096

# Vector numbers (row, k) and squared distances of the nearest, and (row,) whether that is undecided.
_Ranked = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Some of the queried vectors: (row, channel), and their own numbers (row,) if they are searched too."""

    vectors: Tensor
    own: Tensor | None


class ExactSearch:
    """Searches among vectors. num_compared: rows that each pass of the searches so far compared.

    Args: vectors: (vector, channel) float32. coarse: whether to take the first pass; None: where the device
          has bfloat16 products.
    """

    def __init__(self, vectors: Tensor, metric: Metric, coarse: bool | None = None) -> None:
        self.vectors, self.metric, self.device = vectors, metric, vectors.device
        num_vectors = len(vectors)
        self.half_squares = torch.empty(num_vectors, device=self.device)
        for start in range(0, num_vectors, _ROWS_AT_ONCE):
            part = vectors[start : start + _ROWS_AT_ONCE]
            self.half_squares[start : start + _ROWS_AT_ONCE] = (part**2).sum(dim=1) / 2
        self.resolution = float(self.half_squares.max()) * _SAME_SCORE if num_vectors else 0.0
        self.takes_coarse = has_bfloat16_products(self.device) if coarse is None else coarse
        self.coarse: CoarseVectors | None = None
        self.num_compared: list[int] = []
        self._scores_per_tile = 0

    @ieee()
    def nearest(
        self, asked: Tensor, k: int, candidates: Tensor | None, advance: Callable[[int], None]
    ) -> tuple[Tensor, Tensor]:
        """Vector numbers (asked, k) int32 and squared distances float32; see ``VectorSearch.nearest``.

        Raises: an error of memory: not even a small tile fits.
        """
        num_asked, is_own = len(asked), asked is self.vectors
        indices = torch.empty((num_asked, k), dtype=torch.int32, device=self.device)
        squares = torch.empty((num_asked, k), device=self.device)
        rows = torch.arange(num_asked, device=self.device)
        self.num_compared = []
        for number, compare in enumerate(self._passes(k, candidates)):
            self.num_compared.append(len(rows))
            undecided = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
            start = 0
            while start < len(rows):
                of_tile = rows[start : start + self._tile_rows()]
                part = _Asked(asked[of_tile], of_tile if is_own else None)
                ranked = self._in_memory(compare, part, k, of_tile)
                if ranked is None:
                    continue
                indices[of_tile], squares[of_tile] = ranked[0].int(), ranked[1]
                undecided[start : start + len(of_tile)] = ranked[2]
                start += len(of_tile)
                if not number:
                    advance(len(of_tile))
            rows = rows[undecided]
            if not len(rows):
                break
        return indices, squares

    def _passes(self, k: int, candidates: Tensor | None) -> list[Callable[[_Asked, int, Tensor], _Ranked]]:
        passes: list[Callable[[_Asked, int, Tensor], _Ranked]] = [self._by_float32, self._among_equals]
        if candidates is not None:
            return [lambda part, k, rows: self._of_candidates(part, k, candidates[rows]), *passes]
        if self.takes_coarse and len(self.vectors) > _num_coarse(k):
            self.coarse = self.coarse or CoarseVectors(self.vectors)
            return [self._by_bfloat16, *passes]
        return passes

    def _in_memory(
        self, compare: Callable[[_Asked, int, Tensor], _Ranked], part: _Asked, k: int, rows: Tensor
    ) -> _Ranked | None:
        """The ranks of a tile; None if it does not fit into memory, and the next tile is half as large."""
        try:
            return compare(part, k, rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or self._scores() <= _SMALLEST_TILE or self.device.type == "cpu":
                raise
        # The error is gone here, and with it the frames that hold the tile's tensors.
        self._scores_per_tile = self._scores() // 2
        torch.cuda.empty_cache()
        return None

    def _scores(self) -> int:
        """Scores per tile."""
        if self.device.type == "cpu":
            return _TILE_CPU
        if not self._scores_per_tile:
            room = free_bytes(self.device) // _BYTES_PER_SCORE
            self._scores_per_tile = max(_SMALLEST_TILE, min(_LARGEST_TILE, room))
        return self._scores_per_tile

    def _tile_rows(self) -> int:
        rows = self._scores() // max(len(self.vectors), 1)
        if self.device.type == "cpu":
            return min(1024, max(32, rows))
        return min(_MOST_ROWS, max(_FEWEST_ROWS, rows))

    def _tile_columns(self, num_rows: int) -> int:
        if self.device.type == "cpu":
            return max(len(self.vectors), 1)
        return max(1, self._scores() // max(num_rows, 1))

    def _of_candidates(self, part: _Asked, k: int, candidates: Tensor) -> _Ranked:
        """Rank given candidates (row, candidate); -1 leaves a row undecided."""
        indices, square = self._ranked(part, k, candidates.long().clamp(min=0))
        return indices, square, (candidates < 0).any(dim=1)

    def _by_bfloat16(self, part: _Asked, k: int, _: Tensor) -> _Ranked:
        assert self.coarse is not None
        left, moved, length = self.coarse.left(part.vectors)
        right = self.coarse.right
        with float32_sums():
            best, near = self._top(len(left), _num_coarse(k), lambda first, last: left @ right[first:last].T)
        indices, square = self._ranked(part, k, near)
        farthest = square[:, -1].sqrt()
        return indices, square, ~self.coarse.proves(best.amin(dim=1), farthest, moved, length)

    def _by_float32(self, part: _Asked, k: int, _: Tensor) -> _Ranked:
        num_vectors = len(self.vectors)
        wanted = min(k + EXTRA_CANDIDATES, num_vectors)
        best, near = self._top(len(part.vectors), wanted, lambda *columns: self._products(part, *columns))
        # Ties among all candidates (copies of one activation): topk picks arbitrarily.
        undecided = best[:, k - 1] - best[:, -1] <= 2 * self._resolution(part, best[:, k - 1])
        if wanted == num_vectors:
            undecided = torch.zeros_like(undecided)
        return *self._ranked(part, k, near), undecided

    def _among_equals(self, part: _Asked, k: int, _: Tensor) -> _Ranked:
        """Candidates of highest score; scores within the resolution are ordered by vector number."""
        num_rows, num_vectors = len(part.vectors), len(self.vectors)
        wanted = min(k + EXTRA_CANDIDATES, num_vectors)
        best, _ = self._top(num_rows, k, lambda *columns: self._products(part, *columns))
        border = best[:, k - 1, None]
        tiny = torch.finfo(torch.float32).tiny
        step = self._resolution(part, best[:, k - 1]).clamp(min=tiny)[:, None]

        def keys(first: int, last: int) -> Tensor:
            # Whole steps from the k-th score: equal scores round to 0.
            steps = (self._products(part, first, last) - border) / step
            level = steps.round().clamp(-(2**24), 2**24).to(torch.int64)
            return level * num_vectors + torch.arange(
                num_vectors - 1 - first, num_vectors - 1 - last, -1, device=self.device
            )

        _, near = self._top(num_rows, wanted, keys)
        return *self._ranked(part, k, near), torch.zeros(num_rows, dtype=torch.bool, device=self.device)

    def _products(self, part: _Asked, first: int, last: int) -> Tensor:
        """Scores (row, vector) of some vectors: half the asked one's square, less half the squared distance.

        A vector's own score is infinite.
        """
        scores = torch.addmm(-self.half_squares[first:last], part.vectors, self.vectors[first:last].T)
        if part.own is not None:
            at = (part.own - first).clamp(0, last - first - 1)[:, None]
            is_here = ((part.own >= first) & (part.own < last))[:, None]
            scores.scatter_(1, at, scores.gather(1, at).masked_fill(is_here, torch.inf))
        return scores

    def _resolution(self, part: _Asked, border: Tensor) -> Tensor:
        """(row,): score differences that are rounding alone among vectors as near as the score ``border``."""
        if self.metric == "cosine":
            return torch.full_like(border, self.resolution)
        square = (part.vectors**2).sum(dim=1)
        # Longer vectors than these are farther, and their rounding does not matter.
        longest = square.sqrt() + (square - 2 * border).clamp(min=0).sqrt()
        return (longest**2 * (_SAME_SCORE / 2)).clamp(max=self.resolution)

    def _top(
        self, num_rows: int, wanted: int, scores_of: Callable[[int, int], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Highest scores (row, wanted), falling, and their vectors. scores_of: of a range of the vectors."""
        columns = max(wanted, self._tile_columns(num_rows))
        best, near = None, None
        for first in range(0, len(self.vectors), columns):
            last = min(first + columns, len(self.vectors))
            top, at = scores_of(first, last).topk(min(wanted, last - first), dim=1)
            at += first
            if best is not None and near is not None:
                top, which = torch.cat([best, top], dim=1).topk(wanted, dim=1)
                at = torch.cat([near, at], dim=1).gather(1, which)
            best, near = top, at
        assert best is not None
        assert near is not None
        return best, near

    def _ranked(self, part: _Asked, k: int, near: Tensor) -> tuple[Tensor, Tensor]:
        """The k nearest of the candidates: numbers (row, k) and squared distances; a vector itself first."""
        near = near.sort(dim=1).values
        chunk_rows = max(1, self._scores() // (near.shape[1] * max(1, self.vectors.shape[1])))
        # Sum squared differences: a cosine loses small distances, and copies would not be at distance 0.
        square = torch.cat(
            [
                ((self.vectors[others] - vectors[:, None, :]) ** 2).sum(dim=2)
                for vectors, others in zip(
                    part.vectors.split(chunk_rows), near.split(chunk_rows), strict=True
                )
            ]
        )
        if part.own is None:
            square, order = square.sort(dim=1, stable=True)
            return near.gather(1, order)[:, :k], square[:, :k]
        square = square.masked_fill(near == part.own[:, None], torch.inf)
        square, order = square.sort(dim=1, stable=True)
        others = near.gather(1, order)[:, : k - 1]
        own = torch.cat([part.own[:, None], others], dim=1)
        return own, torch.cat([torch.zeros_like(square[:, :1]), square[:, : k - 1]], dim=1)


def _num_coarse(k: int) -> int:
    """Candidates of the first pass: more of them prove more rows."""
    return 2 * k + 24
