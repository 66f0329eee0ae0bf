"""The cells of a grid in bands, as high as a sheet: what stages that make sheets work on. Not a stage."""

from __future__ import annotations

import math

import numpy as np

from atlas_pipeline.engine.stage import Artefact
from atlas_pipeline.viewer.sprites import SHEET


def num_bands(grid: int) -> int:
    """How many there are, empty ones counted."""
    return math.ceil(grid / SHEET)


def band_of(cells: Artefact, band: int) -> tuple[int, int]:
    """Its first row in a bin's table, and the one after its last; cells are in reading order."""
    rows = cells.read(["row"])["row"].to_numpy()
    start, stop = np.searchsorted(rows, [band * SHEET, (band + 1) * SHEET])
    return int(start), int(stop)
