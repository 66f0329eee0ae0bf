"""Pictures inside a figure: icons at print resolution, and the small map coloured by a measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.figure.window import Window, cells_of
from atlas_pipeline.numerics.mosaic import resized
from atlas_pipeline.pictures.colours import PAPER, density_colours
from atlas_pipeline.reader.atlas import Atlas

# The lowest colour is not white, so that its cells can be told from empty ones.
_MIN_AMOUNT = 0.08
# Pixels per cell: viewers that smooth pictures would blur cells of one pixel into each other.
_CELL_PX = 8
# Decimals of a cosine or a share.
_DECIMALS, _MAX_DECIMALS = 2, 5


def icons_picture(atlas: Atlas, window: Window, cell_px: int) -> NDArray[np.uint8]:
    """The icons of a window, each resampled separately so that none blurs into its neighbour.

    Returns: (rows * cell_px, cols * cell_px, 3) uint8.
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
    """Maps a cell's value to a colour: by the square root for counts, which span decades, else linearly."""

    low: float
    high: float
    root: bool

    def amount(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions of values on the scale, 0 (palest) to 1 (darkest)."""
        share = np.clip((values - self.low) / max(self.high - self.low, 1e-12), 0, 1)
        return np.sqrt(share) if self.root else share

    def colours(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Colours of values: the shape of values + (3,), uint8."""
        return density_colours(_MIN_AMOUNT + (1 - _MIN_AMOUNT) * self.amount(values))


def colour_scale(values: NDArray[np.float64], measure: str) -> ColourScale:
    """The scale of a column, NaN ignored. Counts start at 0; cosines and shares start at their minimum."""
    known = values[np.isfinite(values)]
    low = 0.0 if measure == "count" else float(known.min(initial=np.inf, where=np.isfinite(known)))
    return ColourScale(low if np.isfinite(low) else 0.0, float(known.max(initial=low)), measure == "count")


def tick_texts(values: Sequence[float], *, whole: bool) -> list[str | None]:
    """The numbers beside a colour bar, with as many decimals as tell the first two apart, but at least two.

    A number that would repeat an earlier one, or that looks like one, is None.

    Args: values: the two ends of the bar, then values between them. whole: show whole numbers, for counts.

    >>> tick_texts((0, 474, 118.9), whole=True), tick_texts((0, 1, 0.25), whole=True)
    (['0', '474', '119'], ['0', '1', None])
    >>> tick_texts((0.971, 0.974, 0.9725), whole=False), tick_texts((1, 1, 1), whole=False)
    (['0.971', '0.974', '0.973'], ['1.00', None, None])
    """
    decimals, (low, high) = 0 if whole else _DECIMALS, values[:2]
    while not whole and low != high and decimals < _MAX_DECIMALS:
        if f"{low:.{decimals}f}" != f"{high:.{decimals}f}":
            break
        decimals += 1
    texts = [f"{value:,.{decimals}f}" for value in values]
    return [None if text in texts[:number] else text for number, text in enumerate(texts)]


def measure_picture(atlas: Atlas, values: NDArray[np.float64], scale: ColourScale) -> NDArray[np.uint8]:
    """The whole map, one coloured square per cell; white where there is no icon or no value."""
    picture = np.full((atlas.grid, atlas.grid, 3), PAPER, dtype=np.uint8)
    cells, known = cells_of(atlas), np.isfinite(values)
    picture[tuple(cells[known].T)] = scale.colours(values[known])
    return picture.repeat(_CELL_PX, axis=0).repeat(_CELL_PX, axis=1)
