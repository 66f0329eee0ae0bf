"""How a layout ranks the nearest activations, compared on a GPU; see ``numerics.near_rows``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.numerics.blocks import Blocks
from atlas_pipeline.numerics.near_rows import Metric

# 2,000 sampled rows against these are 0.5 GB of distances.
_ROWS_AT_ONCE = 65_536


@ieee()
def compare_on_device(
    activations: Blocks,
    sample: NDArray[np.int64],
    rows: NDArray[np.floating],
    shown: NDArray[np.int64],
    metric: Metric,
    k: int,
    device: str,
) -> tuple[NDArray[np.int64], int]:
    """The nearest activations and the excess of ranks, as ``near_rows.compare`` returns them."""
    own, asked, near_shown = (torch.from_numpy(part).to(device) for part in (sample, rows, shown))
    best = torch.empty((len(sample), 0), device=device)
    near = torch.empty((len(sample), 0), dtype=torch.int64, device=device)
    shown_distances = torch.zeros(shown.shape, device=device)
    for start, distances in _distances(activations, own, asked, metric, device):
        at = near_shown - start
        is_here = (at >= 0) & (at < distances.shape[1])
        found = distances.gather(1, at.clamp(0, distances.shape[1] - 1))
        shown_distances = torch.where(is_here, found, shown_distances)
        top, which = distances.topk(min(k, distances.shape[1]), dim=1, largest=False)
        best, near = torch.cat([best, top], dim=1), torch.cat([near, which + start], dim=1)
        if best.shape[1] > k:
            best, kept = best.topk(k, dim=1, largest=False)
            near = near.gather(1, kept)
    nearer = torch.zeros(shown.shape, dtype=torch.int64, device=device)
    # Products of equal shapes as in the first pass, so that the distances are equal to the bit.
    for _, distances in _distances(activations, own, asked, metric, device):
        nearer += torch.stack(
            [(distances < column[:, None]).sum(dim=1) for column in shown_distances.unbind(dim=1)], dim=1
        )
    return near.cpu().numpy(), int((nearer + 1 - k).clamp(min=0).sum())


def _distances(
    activations: Blocks, own: Tensor, asked: Tensor, metric: Metric, device: str
) -> Iterator[tuple[int, Tensor]]:
    """First row of each tile, and distances (sampled row, row of the tile) up to a monotone function."""
    start = 0
    for block in activations:
        for at in range(0, len(block), _ROWS_AT_ONCE):
            part = np.ascontiguousarray(block[at : at + _ROWS_AT_ONCE])
            tile = torch.from_numpy(part).to(device).float()
            squares = (tile * tile).sum(dim=1)
            dots = asked @ tile.T
            if metric == "cosine":
                distances = -dots / squares.masked_fill(squares == 0, 1).sqrt()
            else:
                distances = squares - 2 * dots
            of_own = own - start
            is_here = ((of_own >= 0) & (of_own < len(tile)))[:, None]
            place = of_own.clamp(0, len(tile) - 1)[:, None]
            distances.scatter_(1, place, distances.gather(1, place).masked_fill(is_here, torch.inf))
            yield start, distances
            start += len(tile)
