"""Values of a layer's units at its map's centre; only what the centre sees is computed. B = batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atlas_pipeline.inversion import batch_memory
from atlas_pipeline.inversion.vignette import Field, effective_field
from atlas_pipeline.inversion.visible_window import FeatureMap, parts_of, visible_window
from atlas_pipeline.models.arithmetic import ieee


class CentreValues:
    """Reads the map's centre for images of one size, given only the square of them that the centre sees.

    low, side_px: first row and column, and side, of that square. field: the disc that decides the values, in
    pixels of the square.

    >>> layer = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1).requires_grad_(False)
    >>> centre = CentreValues(layer, 32, "cpu")
    >>> centre.low, centre.side_px < 8, centre.field.radius
    (14, True, 1)
    >>> images = torch.rand(2, 3, 32, 32)
    >>> seen = images[..., centre.low : centre.low + centre.side_px, centre.low : centre.low + centre.side_px]
    >>> bool(torch.allclose(centre.of(seen), layer(images)[:, :, 8, 8], atol=1e-5))
    True
    """

    def __init__(self, feature_map: FeatureMap, size_px: int, device: torch.device | str) -> None:
        """feature_map: images (B, 3, size_px, size_px) in [0, 1] -> (B, channel, rows, columns)."""
        self._device = torch.device(device)
        whole = effective_field(feature_map, size_px, self._device)
        self._window = visible_window(feature_map, size_px, self._device)
        self._parts = parts_of(feature_map, size_px)
        self.low, self.side_px = self._window.low, self._window.high - self._window.low
        self.field = Field(whole.row - self.low, whole.col - self.low, whole.radius)

    def of(self, squares: Tensor) -> Tensor:
        """Squares (B, 3, side_px, side_px) in [0, 1] -> values (B, channel) float32, on the device."""
        with ieee(), torch.no_grad():
            return self._window.activation(self._parts, squares.to(self._device)).float()

    def of_many(
        self,
        squares: Tensor,
        most: int | None = None,
        advance: Callable[[float], None] = lambda number: None,
    ) -> Tensor:
        """`of` in batches that fit the memory, on the CPU. squares: (B, 3, side, side) uint8 or in [0, 1]."""

        def values(which: Tensor) -> Tensor:
            found = self.of(_in_unit(squares[which]))
            advance(len(which))
            return found

        return torch.cat(list(batch_memory.in_batches(values, len(squares), self._device, most)))


def _in_unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images
