"""Which parts of a layer's map a class's attribution comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atlas_pipeline.numerics.highlight import support


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """Regions of up to 3 x 3 cells, by falling share.

    Attributes: centre: (region,) number of the region's strongest cell; no two of them are neighbours.
                share: (region,) of all the cells' positive totals; they add up to 1.
                of_cell: (cell,) number of the cell's region, -1 where it does not speak for the class.
                cell_share: (cell,) the same share of each cell alone.
    """

    centre: NDArray[np.int64]
    share: NDArray[np.float64]
    of_cell: NDArray[np.int64]
    cell_share: NDArray[np.float64]


def regions(rows: ArrayLike, cols: ArrayLike, counts: ArrayLike, attribution: ArrayLike) -> Regions:
    """The cells that speak for a class, each with its neighbours.

    A cell contributes count x mean attribution: the sum over its activations. The strongest cell takes
    those of its eight neighbours that speak for the class too, the strongest of the rest likewise, and so
    on. Neighbours on a map look alike: the strongest cells alone are several times the same picture.
    Also looked at, on both example networks: only cells that do not touch, each with its own share (in a
    last layer they show a fifth of the attribution); and a watershed, every cell to the peak that it
    climbs to (one region then takes 70 % of a layer, and its one icon stands for things unlike it).

    Args:    rows, cols: (cell,), no cell twice. counts: (cell,). attribution: (cell,) means, logits; what
             is not positive and finite contributes nothing.
    Returns: no region at all where nothing speaks for the class. Of equals the earlier cell comes first.
    """
    row, col = np.asarray(rows, dtype=np.int64), np.asarray(cols, dtype=np.int64)
    total = np.asarray(counts, dtype=np.float64) * support(attribution)
    cell_share = total / total.sum() if total.any() else total
    taken_by = np.full(len(total), -1, dtype=np.int64)
    at = {place: cell for cell, place in enumerate(zip(row.tolist(), col.tolist(), strict=True))}
    for cell in np.argsort(-total, kind="stable").tolist():
        if total[cell] > 0 and taken_by[cell] < 0:
            for place in _block(int(row[cell]), int(col[cell])):
                member = at.get(place)
                if member is not None and total[member] > 0 and taken_by[member] < 0:
                    taken_by[member] = cell
    lit = taken_by >= 0
    centres = np.unique(taken_by[lit])
    sums = np.zeros(len(total))
    np.add.at(sums, taken_by[lit], cell_share[lit])
    share = sums[centres]
    falling = np.lexsort((centres, -share))
    number = np.full(len(total) + 1, -1)
    number[centres[falling]] = np.arange(len(centres))
    return Regions(
        centre=centres[falling], share=share[falling], of_cell=number[taken_by], cell_share=cell_share
    )


def _block(row: int, col: int) -> list[tuple[int, int]]:
    return [(row + dy, col + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
