"""How a layer's output is read as a feature map. B = batch, C = channels, T = tokens.

Convolutional networks give (B, C, row, column), Swin-like ones (B, row, column, C), vision transformers (B,
T, C), or (T, B, C) with the sequence first. Some tokens have no position in the image (class, distillation,
registers) and are dropped; the others form a square of rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError

Axes = Literal["channels first", "channels last", "tokens", "sequence first"]
Index = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class MapForm:
    """The location of a feature map in an output.

    num_left_out: number of tokens without a position; they come first unless ``order`` is given. order: token
    indices of the positions, row by row, if they are not simply consecutive; valid for one image size only.
    held_in: kind of the container whose first tensor is the output (``tuple``, ``dict``...); "" for none.
    """

    axes: Axes
    num_left_out: int = 0
    order: tuple[int, ...] = ()
    held_in: str = ""

    def __str__(self) -> str:
        words: list[str] = [self.axes]
        if self.num_left_out:
            words.append(f"{self.num_left_out} left out")
        if self.order:
            words.append("rearranged")
        if self.held_in:
            words.append(f"first of a {self.held_in}")
        return ", ".join(words)

    @property
    def is_tokens(self) -> bool:
        """Whether one axis of tokens holds the positions."""
        return self.axes in ("tokens", "sequence first")

    @property
    def batch_axis(self) -> int:
        """The axis of the images in an output."""
        return 1 if self.axes == "sequence first" else 0

    def shape_of_one(self, output: Tensor) -> tuple[int, ...]:
        """An output's shape without the batch."""
        return tuple(size for axis, size in enumerate(output.shape) if axis != self.batch_axis)

    def grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of the map in an output of ``shape``, given without the batch.

        Raises: ModelError: tokens that do not form a square, or whose number does not match ``order``.
        """
        if self.axes == "channels first":
            return shape[1], shape[2]
        if self.axes == "channels last":
            return shape[0], shape[1]
        num_positions = shape[0] - self.num_left_out
        if self.order and len(self.order) != num_positions:
            raise ModelError(
                f"{num_positions} tokens do not match the {len(self.order)} whose order is known; "
                "give images of the network's own size"
            )
        side = isqrt(max(num_positions, 0))
        if side * side != num_positions:
            raise ModelError(f"{num_positions} tokens make no square of rows and columns; give square images")
        return side, side

    def to_map(self, output: Tensor) -> Tensor:
        """The output as (B, C, row, column); a view unless there is an ``order``.

        Raises: ModelError: as for ``grid``.
        """
        if self.axes == "channels first":
            return output
        if self.axes == "channels last":
            return output.permute(0, 3, 1, 2)
        tokens = output.transpose(0, 1) if self.axes == "sequence first" else output
        grid = self.grid(tuple(tokens.shape[1:]))
        if self.order:
            positions = tokens[:, torch.tensor(self.order, device=output.device)]
        else:
            positions = tokens[:, self.num_left_out :]
        return positions.unflatten(1, grid).permute(0, 3, 1, 2)

    def write(self, feature_map: Tensor, output: Tensor) -> None:
        """Write a map into an output, in place; tokens without a position keep their values.

        Raises: ModelError: as for ``grid``.
        """
        if self.axes == "channels first":
            output.copy_(feature_map)
        elif self.axes == "channels last":
            output.copy_(feature_map.permute(0, 2, 3, 1))
        else:
            tokens = output.transpose(0, 1) if self.axes == "sequence first" else output
            self.grid(tuple(tokens.shape[1:]))
            positions = feature_map.flatten(2).transpose(1, 2)
            if self.order:
                tokens[:, torch.tensor(self.order, device=output.device)] = positions.to(output.dtype)
            else:
                tokens[:, self.num_left_out :] = positions

    def place(self, output: Tensor, positions: Any) -> Index:
        """The index of one activation per image: ``output[index]`` is (B, C), for reading or writing.

        Args:   positions: (B, 2) integers, row and column in the map.
        Raises: IndexError: a position outside the map. ModelError: as for ``grid``.
        """
        return self.index(self.places(positions, self.grid(self.shape_of_one(output))).to(output.device))

    def places(self, positions: Any, grid: tuple[int, int]) -> Tensor:
        """Positions as ``index`` needs them, on the host.

        Args:    positions: (B, 2) integers, row and column in the map. grid: rows and columns of the map.
        Returns: (2, B) int64: rows and columns of the output, or tokens and zeros.
        Raises:  IndexError: a position outside the map.
        """
        height, width = grid
        places = torch.as_tensor(positions, dtype=torch.long).cpu()
        if bool((places < 0).any()) or bool((places >= torch.tensor([height, width])).any()):
            raise IndexError(f"positions must lie in the {height} x {width} map, got {places.tolist()}")
        if not self.is_tokens:
            return places.T
        rows, columns = places.unbind(dim=1)
        tokens = rows * width + columns
        tokens = torch.tensor(self.order)[tokens] if self.order else tokens + self.num_left_out
        return torch.stack([tokens, torch.zeros_like(tokens)])

    def index(self, places: Tensor) -> Index:
        """The index of one activation per image: ``output[index]`` is (B, C), for reading or writing.

        Args: places: (2, B) from ``places``, on the output's device.
        """
        first, second = places.unbind()
        images = torch.arange(len(first), device=places.device)
        if self.axes == "channels first":
            return images, slice(None), first, second
        if self.axes == "channels last":
            return images, first, second
        return (first, images) if self.axes == "sequence first" else (images, first)
