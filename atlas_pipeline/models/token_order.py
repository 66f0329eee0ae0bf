"""Which token belongs to which position in the image. K = changed images, T = tokens, n = side of the grid.

Most networks put their tokens row by row after a class token. Others have class or register tokens at the end
or in the middle, or order tokens by column or by window (Hiera). Every such order is compared with the
tokens' responses to the probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import torch
from torch import Tensor

from atlas_pipeline.models.map_probe import PLACES, patch_box

MAX_LEFT_OUT = 16
MIN_SIDE = 2
# Quantile at which tokens are clipped: some tokens of trained transformers hold global information and must
# not outvote the others.
LOUD_QUANTILE = 0.95
# A token has no position if it responds to an image changed everywhere by less than this fraction of the
# median token's response.
SILENT_FRACTION = 1e-3


@dataclass(frozen=True, slots=True)
class Order:
    """Token indices of the positions of a square grid, row by row, out of ``num_tokens``."""

    tokens: tuple[int, ...]
    num_tokens: int

    @property
    def side(self) -> int:
        """Number of rows, and of columns."""
        return isqrt(len(self.tokens))

    @property
    def num_left_out(self) -> int:
        """Number of tokens without a position."""
        return self.num_tokens - len(self.tokens)

    @property
    def is_plain(self) -> bool:
        """Whether the tokens without a position come first and the others follow row by row."""
        return self.tokens == tuple(range(self.num_left_out, self.num_tokens))


def plain_order(num_tokens: int, num_left_out: int) -> Order:
    """Row by row after ``num_left_out`` tokens."""
    return Order(tuple(range(num_left_out, num_tokens)), num_tokens)


def silent_tokens(whole: Tensor) -> tuple[int, ...]:
    """Tokens that a change of the whole image, (T,), leaves alone; () unless the rest forms a square."""
    silent = (whole < SILENT_FRACTION * whole.median()).nonzero().flatten().tolist()
    num_positions = len(whole) - len(silent)
    is_square = isqrt(num_positions) ** 2 == num_positions
    return tuple(silent) if len(silent) <= MAX_LEFT_OUT and is_square else ()


@lru_cache(maxsize=64)
def orders_of(num_tokens: int, silent: tuple[int, ...] = ()) -> tuple[Order, ...]:
    """All orders to try, plain ones first. silent: indices of tokens known to have no position."""
    everything = range(num_tokens)
    orders: dict[Order, None] = {}
    for side in range(isqrt(num_tokens), MIN_SIDE - 1, -1):
        num_left_out = num_tokens - side * side
        if num_left_out > MAX_LEFT_OUT:
            break
        half = side * side // 2
        left_out = [
            (*range(front), *range(front + side * side, num_tokens)) for front in range(num_left_out, -1, -1)
        ]
        left_out.append(tuple(range(half, half + num_left_out)))
        if len(silent) == num_left_out:
            left_out.append(silent)
        for dropped in left_out:
            kept = torch.tensor([token for token in everything if token not in dropped])
            for arrangement in _arrangements(side):
                orders[Order(tuple(kept[arrangement].tolist()), num_tokens)] = None
    return tuple(orders)


@lru_cache(maxsize=16)
def _arrangements(side: int) -> tuple[Tensor, ...]:
    """For each arrangement, the token's number at every position, row by row."""
    positions = torch.arange(side * side)
    by_row = positions.view(side, side)
    found = [by_row, by_row.T]
    for width in range(2, side):
        if side % width == 0:
            num = side // width
            # Window by window, then the first token of every window followed by every second token, and so
            # on.
            found.append(positions.view(num, num, width, width).transpose(1, 2).reshape(side, side))
            found.append(positions.view(width, width, num, num).permute(2, 0, 3, 1).reshape(side, side))
    halves, levels = side, 0
    while halves % 2 == 0 and halves > 2:
        halves, levels = halves // 2, levels + 1
        # As above with windows of 2 x 2, nested over several levels, as in Hiera.
        axes = positions.view(*(2, 2) * levels, halves, halves)
        rows, columns = range(2 * levels, -1, -2), range(2 * levels + 1, -1, -2)
        found.append(axes.permute(*rows, *columns).reshape(side, side))
    return tuple(arrangement.reshape(-1) for arrangement in found)


def as_map(change: Tensor, order: Order) -> Tensor:
    """Reorder (K, T) as a map (K, n, n)."""
    return change[:, torch.tensor(order.tokens)].unflatten(1, (order.side, order.side))


def fits(change: Tensor, orders: tuple[Order, ...], size_px: int) -> list[float]:
    """How well each order fits: the response of the tokens under the changed patches.

    Args: change: (K, T), for ``PLACES``. size_px: side of the images.
    """
    change = change / change.mean(1, keepdim=True).clamp(min=1e-30)
    total = change.sum(0)
    weight = total.clamp(max=float(torch.quantile(total, LOUD_QUANTILE)))
    answer = change / total.clamp(min=1e-30) * weight / weight.mean().clamp(min=1e-30)
    fit: dict[int, list[float]] = {}
    for side, tokens in _by_side(orders).items():
        covered = _footprint(side, size_px)
        fit[side] = ((answer[:, tokens] * covered[:, None]).sum((0, 2)) / covered.sum()).tolist()
    return [fit[order.side].pop(0) for order in orders]


@lru_cache(maxsize=64)
def _by_side(orders: tuple[Order, ...]) -> dict[int, Tensor]:
    """Side -> token indices (order, n n)."""
    sides = dict.fromkeys(order.side for order in orders)
    return {side: torch.tensor([order.tokens for order in orders if order.side == side]) for side in sides}


@lru_cache(maxsize=16)
def _footprint(side: int, size_px: int) -> Tensor:
    """(K, n n): the changed fraction of each position's area in the image, for each place."""
    edges = torch.arange(side + 1) * size_px / side

    def covered(first: int, length: int) -> Tensor:
        low, high = edges[:-1].clamp(min=first), edges[1:].clamp(max=first + length)
        return (high - low).clamp(min=0) * side / size_px

    boxes = [patch_box(place, size_px) for place in PLACES]
    return torch.stack(
        [(covered(row, px)[:, None] * covered(column, px)).flatten() for row, column, px in boxes]
    )
