"""Small networks whose tokens are not simply in row order after a class token."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from small_networks import small_network
from torch import Tensor, nn

from atlas_pipeline.models.calibrate import seeded
from atlas_pipeline.models.network import Network

SIDE = 8
CHANNELS = 12
POSITIONS = SIDE * SIDE


def _front(grid: Tensor, extra: Tensor) -> list[Any]:
    return [extra, grid.flatten(1, 2)]


def _windows(grid: Tensor, outer: bool) -> Tensor:
    """Order tokens window by window (4 x 4), or by their position within the window first."""
    split = grid.unflatten(2, (2, 4)).unflatten(1, (2, 4))
    order = (0, 1, 3, 2, 4, 5) if outer else (0, 2, 4, 1, 3, 5)
    return split.permute(*order).flatten(1, 4)


def _spread(grid: Tensor, extra: Tensor) -> list[Tensor]:
    """Place registers as Mamba does: one before every 16 positions."""
    quarters = grid.flatten(1, 2).chunk(4, dim=1)
    return [part for i in range(4) for part in (extra[:, i : i + 1], quarters[i])]


# Each layout has a function that makes the token parts from the grid (B, row, column, C) and the extra tokens
# (B, E, C). The number is E.
LAYOUTS: dict[str, tuple[Callable[[Tensor, Tensor], list[Tensor]], int]] = {
    "front": (lambda grid, extra: [extra, grid.flatten(1, 2)], 1),
    "end": (lambda grid, extra: [grid.flatten(1, 2), extra], 1),
    "class in front, registers at the end": (
        lambda grid, extra: [extra[:, :1], grid.flatten(1, 2), extra[:, 1:]],
        4,
    ),
    "middle": (lambda grid, extra: [grid.flatten(1, 2)[:, :32], extra, grid.flatten(1, 2)[:, 32:]], 1),
    "spread": (_spread, 4),
    "columns": (lambda grid, extra: [extra, grid.transpose(1, 2).flatten(1, 2)], 1),
    "windows": (lambda grid, _: [_windows(grid, outer=True)], 0),
    "interleaved windows": (lambda grid, _: [_windows(grid, outer=False)], 0),
}


class Block(nn.Module):
    """Each token sees itself most and all others a little; ``hold`` wraps the tokens for return."""

    def __init__(self, hold: Callable[[Tensor], Any], batch_axis: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.hold, self.token_axis = hold, 1 - batch_axis

    def forward(self, tokens: Tensor) -> Any:
        mixed = self.mix(self.norm(tokens)).relu()
        return self.hold(tokens + mixed + mixed.mean(self.token_axis, keepdim=True))


class Tokens(nn.Module):
    """8 x 8 patches of 4 px in a given layout, two blocks, and a head that reads all tokens."""

    def __init__(
        self, layout: str, hold: Callable[[Tensor], Any] = lambda tokens: tokens, sequence_first: bool = False
    ) -> None:
        super().__init__()
        self.lay, num_extra = LAYOUTS[layout]
        self.patches = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.extra = nn.Parameter(torch.randn(1, num_extra, CHANNELS))
        self.sequence_first = sequence_first
        self.blocks = nn.ModuleList(Block(hold, int(sequence_first)) for _ in range(2))
        self.head = nn.Linear(CHANNELS, 5)

    def forward(self, images: Tensor) -> Tensor:
        grid = self.patches(images).permute(0, 2, 3, 1)
        tokens = torch.cat(self.lay(grid, self.extra.expand(len(grid), -1, -1)), dim=1)
        held: Any = tokens.transpose(0, 1) if self.sequence_first else tokens
        for block in self.blocks:
            held = block(held if isinstance(held, Tensor) else next(iter(_values(held))))
        last = held if isinstance(held, Tensor) else next(iter(_values(held)))
        return self.head(last.square().mean(0 if self.sequence_first else 1))


def _values(held: Any) -> list[Any]:
    return list(held.values()) if isinstance(held, dict) else list(held)


HOLDERS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda tokens: (tokens,),
    "list": lambda tokens: [tokens, None],
    "dict": lambda tokens: OrderedDict(hidden=tokens),
}


def tokens_network(layout: str, **options: Any) -> Network:
    with seeded(3):
        return small_network(Tokens(layout, **options))


class Maps(nn.Module):
    """An 8 x 8 feature map that ``turn`` rearranges and ``back`` restores."""

    def __init__(
        self, turn: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], channels: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 4, stride=4)
        self.turn, self.back = turn, back
        self.turned = nn.ReLU()
        self.after = nn.Conv2d(channels, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        turned = self.turned(self.turn(self.conv(images)))
        return self.head(self.after(self.back(turned)).square().mean(dim=(2, 3)))


def maps_network(
    turn: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], channels: int = 8
) -> Network:
    with seeded(4):
        return small_network(Maps(turn, back, channels))
