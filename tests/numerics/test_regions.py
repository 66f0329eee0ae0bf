from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.numerics.regions import connected_regions, innermost_cell, largest_regions, outline

GRID = 6


def flooded(cells, classes):
    """The reference: regions by flood fill, cell by cell."""
    place = {tuple(cell): k for k, cell in enumerate(cells)}
    number = [-1] * len(cells)
    for first in range(len(cells)):
        if number[first] >= 0 or classes[first] < 0:
            continue
        todo, mine = [first], max(number) + 1
        while todo:
            k = todo.pop()
            number[k] = mine
            row, col = cells[k]
            for beside in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
                j = place.get(beside)
                if j is not None and number[j] < 0 and classes[j] == classes[k]:
                    todo.append(j)
    return number


@given(st.dictionaries(st.tuples(st.integers(0, GRID - 1), st.integers(0, GRID - 1)), st.integers(-1, 2)))
def test_regions_are_those_of_a_flood_fill(classes):
    cells = list(classes)
    found = connected_regions(np.array(cells).reshape(-1, 2), list(classes.values()), GRID)
    assert found.tolist() == flooded(cells, list(classes.values()))


def test_cells_that_touch_at_a_corner_are_two_regions():
    assert connected_regions([[0, 0], [1, 1]], [3, 3], 2).tolist() == [0, 1]


def test_the_fullest_regions_come_first_and_specks_not_at_all():
    regions, counts = [0, 1, 1, 2, 3, -1], [50, 40, 40, 50, 3, 1000]
    assert largest_regions(regions, counts, 10).tolist() == [1, 0, 2]
    assert largest_regions(regions, counts, 1).tolist() == [1]
    assert largest_regions([-1, -1], [5, 5], 3).tolist() == []


def test_the_innermost_cell_is_deepest_and_belongs_to_the_region():
    ring = [[r, c] for r in range(5) for c in range(5) if (r, c) != (1, 1)]
    row, col = ring[innermost_cell(ring)]
    # (2, 3) and (3, 3) are two cells from the outside and more from the hole; (2, 3) is nearer the middle.
    assert (row, col) == (2, 3)
    assert innermost_cell([[4, 7]]) == 0
    with pytest.raises(ValueError, match="at least one"):
        innermost_cell([])


@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_the_outline_is_every_side_between_the_filled_region_and_the_outside_once(cells):
    outside, todo = set(), [(-1, -1)]
    while todo:
        row, col = todo.pop()
        if (row, col) in outside or (row, col) in cells or not (-1 <= row <= 6 and -1 <= col <= 6):
            continue
        outside.add((row, col))
        todo += [(row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)]
    wanted = set()
    for row in range(6):
        for col in range(6):
            if (row, col) in outside:
                continue
            for beside, side in (
                ((row - 1, col), ((row, col), (row, col + 1))),
                ((row + 1, col), ((row + 1, col), (row + 1, col + 1))),
                ((row, col - 1), ((row, col), (row + 1, col))),
                ((row, col + 1), ((row, col + 1), (row + 1, col + 1))),
            ):
                if beside in outside:
                    wanted.add(side)
    found = []
    for (row, col), (to_row, to_col) in outline(list(cells)).tolist():
        assert (row == to_row) != (col == to_col)
        length = max(to_row - row, to_col - col)
        step = ((to_row - row) // length, (to_col - col) // length)
        corners = [(row + k * step[0], col + k * step[1]) for k in range(length + 1)]
        found += pairwise(corners)
    assert sorted(found) == sorted(wanted)
