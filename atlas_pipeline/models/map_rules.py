"""Readings of a feature map suggested by an output's shape alone, the starting point of the probe.

B = batch, C = channels, T = tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

from torch import nn

from atlas_pipeline.models.execution import Output
from atlas_pipeline.models.map_form import Axes, MapForm

Shape = tuple[int, ...]

# Largest number of undeclared prefix tokens, and smallest side of a grid of tokens.
MAX_PREFIX = 8
MIN_SIDE = 2


def possible_axes(shape: Shape | None, batch: int) -> tuple[Axes, ...]:
    """The ways in which an output of ``shape`` could be read; () if there is none."""
    if shape is None or len(shape) not in (3, 4):
        return ()
    if len(shape) == 4:
        if shape[0] != batch:
            return ()
        # Square as channels first but not as channels last: the map of a convolution.
        if shape[2] == shape[3] and shape[1] != shape[2]:
            return ("channels first",)
        return ("channels first", "channels last")
    if shape[0] == batch:
        return ("tokens",)
    return ("sequence first",) if shape[1] == batch else ()


def forms_by_shape(
    module: nn.Module, outputs: Mapping[str, Output], batch: int, size_px: int
) -> dict[str, MapForm]:
    """The outputs that look like feature maps, and how to read them, by their shapes for ``batch`` images."""
    shapes = {
        name: output.shape
        for name, output in outputs.items()
        if output.shape and output.shape[0] == batch and not output.held_in
    }
    maps = {
        n: shape
        for n, shape in shapes.items()
        if len(shape) == 4 and not is_inside_attention(n, shape, shapes)
    }
    forms = {
        n: MapForm(
            "channels last" if shape[1] == shape[2] != shape[3] and shape[1] >= MIN_SIDE else "channels first"
        )
        for n, shape in maps.items()
    }
    # The tokens are one of these maps, flattened.
    sides = {maps[name][1 if form.axes == "channels last" else 2] for name, form in forms.items()}
    grid = _stated_grid(module)
    for name, shape in shapes.items():
        num_prefix = _num_prefix(shape[1], size_px, grid, sides) if len(shape) == 3 else None
        if num_prefix is not None:
            forms[name] = MapForm("tokens", num_prefix)
    return forms


def is_inside_attention(name: str, shape: Shape, shapes: Mapping[str, Shape | None]) -> bool:
    """Whether four axes are (B, head, T, ...), the inside of an attention, without rows and columns."""
    parts = name.split(".")
    outer_shapes = [shapes.get(".".join(parts[:depth])) for depth in range(1, len(parts))]
    return any(outer and len(outer) == 3 and outer[1] == shape[2] for outer in outer_shapes)


def _stated_grid(module: nn.Module) -> tuple[int, int] | None:
    """Number of prefix tokens and side of the grid, as timm's vision transformers declare them."""
    for part in module.modules():
        num_prefix = getattr(part, "num_prefix_tokens", None)
        rows, columns = getattr(getattr(part, "patch_embed", None), "grid_size", None) or (0, 0)
        if isinstance(num_prefix, int) and rows == columns > 0:
            return num_prefix, rows
    return None


def _num_prefix(num_tokens: int, size_px: int, grid: tuple[int, int] | None, sides: set[int]) -> int | None:
    """Number of leading tokens without a position; None if the rest forms no grid of patches."""
    if grid is not None and num_tokens - grid[1] ** 2 in (0, grid[0]):
        return num_tokens - grid[1] ** 2
    for num_prefix in range(min(MAX_PREFIX, num_tokens) + 1):
        side = isqrt(num_tokens - num_prefix)
        is_grid = side >= MIN_SIDE and side * side == num_tokens - num_prefix and size_px % side == 0
        if is_grid and (side in sides or not sides):
            return num_prefix
    return None
