"""Vectors rounded to bfloat16: candidates for the nearest ones, and a proof for each row that they are all.

Rounding moves a vector by a known length, so that by the triangle inequality the distance of two vectors
changes by no more than the sum of theirs. The proof bounds what a vector nearer than the k-th could score.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Half the distance of neighbouring bfloat16 numbers, relative; float32 sums lose less than this a term.
_HALF_STEP, _SUM_LOSS = 2.0**-8, 2.0**-23
# A half square is kept in three bfloat16 numbers of 8 bits each: 24 bits, as in float32.
_NUM_PARTS = 3
# Tensor cores take rows of whole 16-byte words.
_ALIGNED = 8
_ROWS_AT_ONCE = 1 << 16


class CoarseVectors:
    """Rounded vectors, and how far rounding moved each.

    They are rounded after the mean is subtracted, since short vectors lose less, and after a division by a
    power of two that makes the longest at most 1. Scores are minus half the squared distances of rounded
    vectors, so that the scores of near vectors are small and survive their own rounding.

    Args: vectors: (vector, channel) float32, finite; at least one.
    """

    def __init__(self, vectors: Tensor) -> None:
        num_vectors, self.num_channels = vectors.shape
        device, parts = vectors.device, vectors.split(_ROWS_AT_ONCE)
        self.mean = (sum(part.double().sum(dim=0) for part in parts) / num_vectors).float()
        lengths = torch.stack([(part - self.mean).norm(dim=1).max() for part in parts])
        self.scale = torch.exp2(-torch.log2(lengths.max().clamp(min=2.0**-100)).ceil())
        width = self.num_channels + 2 * _NUM_PARTS
        self.right = torch.zeros(
            (num_vectors, width + -width % _ALIGNED), dtype=torch.bfloat16, device=device
        )
        self.most_moved = torch.zeros((), device=device)
        for start in range(0, num_vectors, _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            rounded, moved, _ = self._rounded(vectors[rows])
            self.most_moved = torch.maximum(self.most_moved, moved.max())
            self.right[rows, : self.num_channels] = rounded
            self.right[rows, self.num_channels : self.num_channels + _NUM_PARTS] = 1
            self.right[rows, self.num_channels + _NUM_PARTS : width] = _half_squares(rounded)

    def left(self, asked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors (asked, channel) of the scores, and how far rounding moved and how long each vector is."""
        rounded, moved, length = self._rounded(asked)
        factors = rounded.new_zeros((len(asked), self.right.shape[1]))
        factors[:, : self.num_channels] = rounded
        factors[:, self.num_channels : self.num_channels + _NUM_PARTS] = -_half_squares(rounded)
        factors[:, self.num_channels + _NUM_PARTS : self.num_channels + 2 * _NUM_PARTS] = -1
        return factors, moved, length

    def proves(self, worst: Tensor, farthest: Tensor, moved: Tensor, length: Tensor) -> Tensor:
        """(asked,) bool: no vector that was left out is as near as the farthest of the neighbours found.

        A vector as near as that is not much longer than the asked one, which bounds how far rounding moved
        it and how much its score lost in the sum. If its least score is above the worst candidate's, it is
        a candidate.

        Args: worst: (asked,) lowest score of a candidate. farthest: (asked,) distance of the farthest
              neighbour. moved, length: from ``left``.
        """
        slack = 1 + 4 * self.num_channels * _SUM_LOSS
        away = farthest * self.scale * slack
        longest = length + away
        other_moved = torch.minimum(self.most_moved, longest * (_HALF_STEP * slack))
        terms = (length + moved + longest + other_moved) ** 2 / 2
        least = (away + moved + other_moved) ** 2 / 2 + terms * (2 * self.right.shape[1] * _SUM_LOSS)
        return least * slack < -worst.float() * (1 - 2 * _HALF_STEP)

    def _rounded(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rounded vectors (row, channel), how far each was moved and its length, both upper bounds."""
        centred = (vectors - self.mean) * self.scale
        rounded = centred.bfloat16()
        slack = 1 + self.num_channels * _SUM_LOSS
        length = centred.norm(dim=1) * slack
        # The difference from the mean was itself rounded, to float32.
        moved = (centred - rounded.float()).norm(dim=1) * slack + length * _SUM_LOSS
        return rounded, moved, length


@contextmanager
def float32_sums() -> Iterator[None]:
    """Add bfloat16 products in float32 within the block; torch lets cuBLAS add parts of sums in bfloat16."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before


def _half_squares(rounded: Tensor) -> Tensor:
    """Half the squared lengths (row, part) bfloat16; the sum of the parts has 24 bits."""
    rest = (rounded.float() ** 2).sum(dim=1) / 2
    parts = []
    for _ in range(_NUM_PARTS):
        parts.append(rest.bfloat16())
        rest = rest - parts[-1].float()
    return torch.stack(parts, dim=1)
