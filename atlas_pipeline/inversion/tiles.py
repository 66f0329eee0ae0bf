"""Tiles of a large picture: the network sees one at a time, and their seams move from step to step.

Tiles of one side cover the picture and a margin around it that reflects it. Where the tiles begin is drawn at
every step, so that no seam, and no position of a strided layer, stays at one place.
H, W = rows and columns of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# The strides of common networks divide it.
STRIDE_PX = 32
# Share of a tile by which seams move at least.
_MOVED_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class AxisTiles:
    """Tiles along one axis of a picture: ``num`` of ``side_px`` each, on ``length_px`` pixels."""

    num: int
    side_px: int
    length_px: int

    def rows(self, draw: float, device: torch.device) -> list[Tensor]:
        """For each tile the picture's rows that it shows; beyond the border they are reflected.

        Args:    draw: in [0, 1), how much of the margin lies before the first row.
        Returns: (side_px,) int64 each.
        """
        margin = self.num * self.side_px - self.length_px
        first = int(draw * (margin + 1))
        rows = reflected(torch.arange(self.num * self.side_px, device=device) - first, self.length_px)
        return list(rows.split(self.side_px))


def axis_tiles(length_px: int, tile_px: int, own_px: int) -> AxisTiles:
    """Tiles along an axis, at most ``tile_px`` and at least ``own_px`` or ``tile_px`` each.

    >>> axis_tiles(448, tile_px=512, own_px=224)
    AxisTiles(num=1, side_px=480, length_px=448)
    >>> axis_tiles(448, tile_px=224, own_px=224)  # a network that takes images of one size only
    AxisTiles(num=3, side_px=224, length_px=448)
    """
    moved = STRIDE_PX if length_px + STRIDE_PX <= tile_px else max(1, round(tile_px * _MOVED_SHARE))
    num = -(-(length_px + moved) // tile_px)
    needed = -(-(length_px + moved) // num)
    rounded = -(-needed // STRIDE_PX) * STRIDE_PX
    return AxisTiles(num, min(tile_px, max(own_px, rounded)), length_px)


def reflected(rows: Tensor, length_px: int) -> Tensor:
    """Rows of a picture for rows of any value: beyond a border they run back.

    >>> reflected(torch.arange(-3, 7), 4).tolist()
    [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    """
    if length_px == 1:
        return torch.zeros_like(rows)
    period = 2 * length_px - 2
    rows = rows.abs() % period
    return torch.where(rows < length_px, rows, period - rows)


def tiles(
    size_px: tuple[int, int], tile_px: int, own_px: int, draws: tuple[float, float], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows and columns of each tile of a picture of (H, W) pixels. draws: see `AxisTiles.rows`."""
    rows, cols = (
        axis_tiles(length, tile_px, own_px).rows(draw, device)
        for length, draw in zip(size_px, draws, strict=True)
    )
    for of_rows in rows:
        for of_cols in cols:
            yield of_rows, of_cols


def tile_of(pixels: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """The tile (1, 3, rows, columns) of a picture (1, 3, H, W)."""
    return pixels.index_select(2, rows).index_select(3, cols)


def add_tile(gradient: Tensor, of_tile: Tensor, rows: Tensor, cols: Tensor) -> None:
    """Add the gradient of a tile to that of its picture, (1, 3, H, W), in place."""
    of_rows = of_tile.new_zeros(*of_tile.shape[:3], gradient.shape[3]).index_add_(3, cols, of_tile)
    gradient.index_add_(2, rows, of_rows)
