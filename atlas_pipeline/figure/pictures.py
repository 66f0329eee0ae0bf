"""The pictures within a figure: icons at the size of print, and the small map coloured by a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.figure.window import Window, cells_of
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.pictures.colours import PAPER, density_colours
from atlas_pipeline.reader.atlas import Atlas

# The least of a colour scale is not white: a cell of it is still a cell.
_PALEST = 0.08
# Viewers that smooth pictures would wash cells of one pixel into each other.
_PX_OF_A_CELL = 8


def icons_picture(atlas: Atlas, window: Window, cell_px: int) -> NDArray[np.uint8]:
    """The icons of a window, each resampled by itself so that none bleeds into its neighbour.

    Returns: (rows * cell_px, cols * cell_px, 3).
    """
    picture = np.full((window.rows * cell_px, window.cols * cell_px, 3), PAPER, dtype=np.uint8)
    for row, col in cells_of(atlas)[window.holds(cells_of(atlas))].tolist():
        icon = np.asarray(atlas.icon(row, col))
        side = max(1, round(len(icon) / atlas.icon_px * cell_px))
        margin = (cell_px - side) // 2
        top = (row - window.top) * cell_px + margin
        left = (col - window.left) * cell_px + margin
        picture[top : top + side, left : left + side] = resized(icon, side)
    return picture


@dataclass(frozen=True, slots=True)
class ColourScale:
    """From a number of a cell to a colour: by its square root for counts, which span decades, else evenly."""

    low: float
    high: float
    root: bool

    def amount(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie between the palest and the darkest, in [0, 1]."""
        share = np.clip((values - self.low) / max(self.high - self.low, 1e-12), 0, 1)
        return np.sqrt(share) if self.root else share

    def colours(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """values' shape + (3,)."""
        return density_colours(_PALEST + (1 - _PALEST) * self.amount(values))


def colour_scale(values: NDArray[np.float64], measure: str) -> ColourScale:
    """The scale of a column; NaN is left out. Counts start at 0, cosines and shares at the least there is."""
    known = values[np.isfinite(values)]
    low = 0.0 if measure == "count" else float(known.min(initial=np.inf, where=np.isfinite(known)))
    return ColourScale(low if np.isfinite(low) else 0.0, float(known.max(initial=low)), measure == "count")


def measure_picture(atlas: Atlas, values: NDArray[np.float64], scale: ColourScale) -> NDArray[np.uint8]:
    """The whole map, a square of colour a cell; white where there is no icon or no number."""
    picture = np.full((atlas.grid, atlas.grid, 3), PAPER, dtype=np.uint8)
    cells, known = cells_of(atlas), np.isfinite(values)
    picture[tuple(cells[known].T)] = scale.colours(values[known])
    return picture.repeat(_PX_OF_A_CELL, axis=0).repeat(_PX_OF_A_CELL, axis=1)
