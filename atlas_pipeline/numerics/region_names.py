"""The names on a map: regions of all its grids in one list, so that nearer views add names to those far out.

A region of a fine grid is left out if a region of a coarser grid already gives its place the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas_pipeline.numerics.grid import cell_centre, cell_of
from atlas_pipeline.numerics.regions import agreeing_regions, connected_regions, innermost_cell


@dataclass(frozen=True, slots=True, kw_only=True)
class GridClasses:
    """The top classes of a grid's cells.

    Attributes: grid: cells along a side. cells: (cell, 2) row, col. classes: (cell,) class of the highest
                mean attribution, -1 for none. counts: (cell,) activations. agreement: (cell,) share of them
                with the commonest top class.
    """

    grid: int
    cells: NDArray[np.integer]
    classes: NDArray[np.integer]
    counts: NDArray[np.integer]
    agreement: NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionNames:
    """The named regions of a map, coarser grids first, the fullest regions of a grid first.

    Attributes: class_: (name,). x, y: (name,) the innermost cell's centre in the unit square, y up. area:
                (name,) share of the unit square. count: (name,) activations. agreement: (name,) share of them
                that agree on a class. grid: (name,) the coarsest grid that has the region.
    """

    class_: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: NDArray[np.float64]
    count: NDArray[np.int64]
    agreement: NDArray[np.float64]
    grid: NDArray[np.int64]


def region_names(grids: Sequence[GridClasses]) -> RegionNames:
    """The names of a map's regions, by the rule that figures use (`agreeing_regions`).

    Args: grids: of one layout, in any order.
    """
    found: list[tuple[float, ...]] = []
    coarser: list[tuple[int, NDArray[np.int64]]] = []
    for level in sorted(grids, key=lambda one: one.grid):
        number = connected_regions(level.cells, level.classes, level.grid)
        number = agreeing_regions(number, level.counts, level.agreement)
        named = np.full((level.grid, level.grid), -1, dtype=np.int64)
        kept = number >= 0
        named[tuple(np.asarray(level.cells)[kept].T)] = level.classes[kept]
        regions = [_region(level, members) for members in _members(number)]
        for region in sorted(regions, key=lambda one: -one[4]):
            if not any(_class_at(classes, grid, *region[1:3]) == region[0] for grid, classes in coarser):
                found.append(region)
        coarser.append((level.grid, named))
    columns = np.array(found, dtype=np.float64).reshape(-1, 7).T
    return RegionNames(
        class_=columns[0].astype(np.int64),
        x=columns[1],
        y=columns[2],
        area=columns[3],
        count=columns[4].astype(np.int64),
        agreement=columns[5],
        grid=columns[6].astype(np.int64),
    )


def _members(number: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of the cells of each region, in the order of the numbers."""
    cells = np.argsort(number, kind="stable")[int((number < 0).sum()) :]
    starts = np.flatnonzero(np.diff(number[cells])) + 1
    return np.split(cells, starts) if len(cells) else []


def _region(level: GridClasses, members: NDArray[np.int64]) -> tuple[float, ...]:
    """Class, x, y, area, count, agreement and grid of a region."""
    cells, counts = np.asarray(level.cells)[members], level.counts[members].astype(np.float64)
    x, y = cell_centre(cells[[innermost_cell(cells)]], level.grid)[0].tolist()
    agreement = float((counts * level.agreement[members]).sum() / counts.sum())
    area = len(members) / level.grid**2
    return (float(level.classes[members[0]]), x, y, area, float(counts.sum()), agreement, float(level.grid))


def _class_at(classes: NDArray[np.int64], grid: int, x: float, y: float) -> int:
    """The named class of the cell of a grid at a point; -1 for none."""
    row, col = cell_of([[x, y]], grid)[0]
    return int(classes[row, col])
