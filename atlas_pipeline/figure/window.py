"""Windows onto an atlas, in whole cells: the part that a figure shows, and the parts that loupes enlarge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.errors import ConfigError
from atlas_pipeline.figure.request import Loupe, Region
from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.reader.atlas import Atlas

# Tolerance of rounding up to whole cells: 0.3 * 20 = 6.000000001 must give 6.
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Window:
    """Cells [top, top + rows) x [left, left + cols); row 0 is the top."""

    top: int
    left: int
    rows: int
    cols: int

    def holds(self, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(cell, 2) row, col -> (cell,): whether each cell is inside."""
        inner = cells - np.array([self.top, self.left])
        return ((inner >= 0) & (inner < np.array([self.rows, self.cols]))).all(axis=1)

    def region(self, grid: int) -> Region:
        """The window in the layout's units."""
        bottom = grid - self.top - self.rows
        return Region(
            self.left / grid, bottom / grid, (self.left + self.cols) / grid, (bottom + self.rows) / grid
        )


def cells_of(atlas: Atlas) -> NDArray[np.int64]:
    """(cell, 2) row, col of the cells that have an icon, in the atlas's order."""
    return atlas.cells[["row", "col"]].to_numpy(dtype=np.int64)


def window_of(atlas: Atlas, region: Region | None) -> Window:
    """The region, rounded out to whole cells; the whole map without a region.

    Raises: ConfigError: the region lies outside the map, or contains no icon.
    """
    window = cells_within(region, atlas.grid)
    if region is not None:
        _check_icons(atlas, window, _option_text(region))
    return window


def cells_within(region: Region | None, grid: int) -> Window:
    """The region, rounded out to whole cells of any grid, with or without icons.

    Raises: ConfigError: the region lies outside the map, or has no area.
    """
    if region is None:
        return Window(0, 0, grid, grid)
    option = _option_text(region)
    if min(region.x0, region.y0) < 0 or max(region.x1, region.y1) > 1:
        raise ConfigError(f"{option} lies outside the map, which runs from 0 to 1 in x and in y")
    left, right = math.floor(region.x0 * grid + _EPSILON), math.ceil(region.x1 * grid - _EPSILON)
    bottom, top = math.floor(region.y0 * grid + _EPSILON), math.ceil(region.y1 * grid - _EPSILON)
    if left >= right or bottom >= top:
        raise ConfigError(f"{option} has no area; give the lower left corner first")
    return Window(grid - top, left, top - bottom, right - left)


def loupe_window(atlas: Atlas, loupe: Loupe, within: Window) -> Window:
    """The cells around a loupe's position, shifted to lie inside the shown part of the map.

    Raises: ConfigError: the position is outside the shown part, the loupe is larger than it, or contains no
            icon.
    """
    option = f"--loupe {loupe.x:g},{loupe.y:g},{loupe.cells}"
    if not (0 <= loupe.x <= 1 and 0 <= loupe.y <= 1):
        raise ConfigError(f"{option} lies outside the map, which runs from 0 to 1 in x and in y")
    position = cell_of([[loupe.x, loupe.y]], atlas.grid)
    if not within.holds(position).all():
        raise ConfigError(f"{option} lies outside the region that is shown")
    if loupe.cells > min(within.rows, within.cols):
        raise ConfigError(f"{option} is larger than what is shown: {within.cols} x {within.rows} cells")
    row, col = (int(number) - (loupe.cells - 1) // 2 for number in position[0])
    top = min(max(row, within.top), within.top + within.rows - loupe.cells)
    left = min(max(col, within.left), within.left + within.cols - loupe.cells)
    window = Window(top, left, loupe.cells, loupe.cells)
    _check_icons(atlas, window, option)
    return window


def _option_text(region: Region) -> str:
    return f"--region {region.x0:g},{region.y0:g},{region.x1:g},{region.y1:g}"


def _check_icons(atlas: Atlas, window: Window, option: str) -> None:
    cells = cells_of(atlas)
    if window.holds(cells).any():
        return
    if len(cells) == 0:
        raise ConfigError(f"{option}: this atlas has no icons at all")
    x, y = atlas.cells["x"], atlas.cells["y"]
    span = f"x {x.min():.2f} to {x.max():.2f}, y {y.min():.2f} to {y.max():.2f}"
    gap = np.hypot(
        x - (window.left + window.cols / 2) / atlas.grid,
        y - 1 + (window.top + window.rows / 2) / atlas.grid,
    )
    nearest = atlas.cells.iloc[int(gap.argmin())]
    position = f"{nearest['x']:.2f},{nearest['y']:.2f}"
    raise ConfigError(f"{option} holds no icon; the nearest is at {position}, all of them in {span}")
