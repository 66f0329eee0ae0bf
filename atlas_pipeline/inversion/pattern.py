"""Patterns: an icon that gives each of some positions of the map a direction of its own.

B = icon in a batch, N = number of icons, K = channel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion.objective import Goals, centre_position
from atlas_pipeline.inversion.objectives import OfNetwork
from atlas_pipeline.inversion.visible_window import FeatureMap


class Pattern(OfNetwork):
    """The middle of the map has a pattern: a direction of its own at each of some positions.

    The score is the mean over the positions of the score of a direction (see `objective`), weighted by the
    lengths of the pattern's vectors.

    Args:   patterns: (N, K, rows, columns), none all zero; the middle position lies on the map's centre.
            power: as in `objective.Goals`. device: of the feature map.
    Raises: ModelError, when called: the map is smaller than the pattern, or has other channels.

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 3).requires_grad_(False)
    >>> Pattern(layer, torch.rand(2, 4, 3, 3))(torch.rand(2, 3, 16, 16), torch.tensor([0, 1])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        feature_map: FeatureMap,
        patterns: Tensor,
        *,
        power: float = 8.0,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(feature_map, len(patterns))
        self._size = patterns.shape[1:]
        vectors = patterns.to(device).flatten(2).transpose(1, 2)
        lengths = vectors.norm(dim=2)
        self._weights = lengths / lengths.sum(1, keepdim=True)
        # A position without a direction has no weight; any direction serves.
        directions = torch.where(lengths[..., None] > 0, vectors, torch.ones_like(vectors))
        self._goals = Goals(directions.flatten(0, 1), "cosine_power", power)

    def scores(self, outputs: Tensor, which: Tensor) -> Tensor:
        channels, rows, cols = self._size
        row, col = centre_position(*outputs.shape[-2:])
        top, left = max(0, row - rows // 2), max(0, col - cols // 2)
        middle = outputs[:, :, top : top + rows, left : left + cols]
        if middle.shape[1:] != self._size:
            raise ModelError(
                f"a pattern of {channels} channels and {rows} x {cols} positions does not fit into a map of "
                f"{outputs.shape[1]} channels and {outputs.shape[2]} x {outputs.shape[3]} positions"
            )
        vectors = middle.flatten(2).transpose(1, 2)
        num = rows * cols
        rows_of = (which[:, None] * num + torch.arange(num, device=which.device)).flatten()
        found = self._goals.scores(vectors.flatten(0, 1), rows_of).view(len(which), num)
        return (found * self._weights[which]).sum(1)


def pattern_around(maps: Tensor, row: int, col: int) -> Tensor:
    """A map (K, rows, columns) as a square (K, side, side) with the given position in its middle.

    The square holds the whole map; the rest is 0.

    >>> pattern_around(torch.tensor([[[1, 2]]]), 0, 1)
    tensor([[[0, 0, 0],
             [1, 2, 0],
             [0, 0, 0]]])
    """
    rows, cols = maps.shape[1:]
    half = max(row, rows - 1 - row, col, cols - 1 - col)
    return pad(maps, (half - col, half + 1 + col - cols, half - row, half + 1 + row - rows))


def fitted_patterns(patterns: list[Tensor], room: int) -> Tensor:
    """Squares (K, side, side) of odd sides cut alike around their middles: (N, K, side, side).

    The side is the least that keeps all values other than 0, and at most `room`.

    >>> small = pattern_around(torch.tensor([[[0, 1, 2]]]), 0, 1)
    >>> fitted_patterns([small, torch.zeros(1, 7, 7)], room=6).shape
    torch.Size([2, 1, 3, 3])
    """
    reach = 0
    for pattern in patterns:
        middle = pattern.shape[-1] // 2
        places = pattern.abs().amax(0).nonzero() - middle
        reach = max(reach, int(places.abs().max()) if len(places) else 0)
    half = min(reach, (room - 1) // 2)
    return torch.stack([_middle(pattern, half) for pattern in patterns])


def _middle(pattern: Tensor, half: int) -> Tensor:
    more = half - pattern.shape[-1] // 2
    return pad(pattern, (more, more, more, more))
