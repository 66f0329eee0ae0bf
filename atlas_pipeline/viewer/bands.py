"""Bands of a grid's cells, each as high as a sheet. The stages that make sheets have one task per band."""

from __future__ import annotations

import math

import numpy as np

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.viewer.sprites import SHEET


def num_bands(grid: int) -> int:
    """Number of bands of a grid, including empty ones."""
    return math.ceil(grid / SHEET)


def band_of(cells: Artefact, band: int) -> tuple[int, int]:
    """The rows [start, stop) of a bin artefact's table that belong to a band; cells are in reading order."""
    rows = cells.read(["row"])["row"].to_numpy()
    start, stop = np.searchsorted(rows, [band * SHEET, (band + 1) * SHEET])
    return int(start), int(stop)
