import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.numerics.grid import (
    cell_centre,
    cell_of,
    counts_of,
    flat_cell,
    largest_grid_with,
    unflat_cell,
)


def test_top_left_of_layout_is_row_0_col_0():
    xy = np.array([[0.0, 1.0], [1.0, 0.0]])  # y points up
    assert cell_of(xy, grid_size=2).tolist() == [[0, 0], [1, 1]]


def test_up_is_a_smaller_row_and_right_a_larger_column():
    xy = [[0.1, 0.1], [0.1, 0.9], [0.9, 0.1]]
    assert cell_of(xy, grid_size=4).tolist() == [[3, 0], [0, 0], [3, 3]]


def test_a_point_on_a_corner_of_cells_is_in_one_cell():
    assert cell_of([[0.5, 0.5]], grid_size=2).tolist() == [[0, 1]]
    assert counts_of(np.full((7, 2), 0.5), grid_size=2).sum() == 7


def test_the_outer_border_belongs_to_the_last_cell():
    corners = [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert cell_of(corners, grid_size=3).tolist() == [[2, 0], [2, 2], [0, 0], [0, 2]]


def test_the_last_float32_before_an_edge_is_before_it():
    """In float32, 11 times the number just below 5/11 rounds to 5."""
    below = np.nextafter(np.float32(5 / 11), np.float32(0))
    assert below * np.float32(11) == 5
    assert cell_of(np.array([[below, below]]), grid_size=11).tolist() == [[6, 4]]


@pytest.mark.parametrize("bad", [[-0.01, 0.5], [0.5, 1.001], [np.nan, 0.5]])
def test_a_point_outside_is_named(bad):
    with pytest.raises(ValueError, match="point 1 "):
        cell_of([[0.5, 0.5], bad], 4)


@pytest.mark.parametrize("grid_size", [1, 3, 20, 160])
def test_centres_and_flat_numbers_lead_back(grid_size):
    flat = np.arange(grid_size**2)
    cells = unflat_cell(flat, grid_size)
    assert np.array_equal(flat_cell(cells, grid_size), flat)
    assert np.array_equal(cell_of(cell_centre(cells, grid_size), grid_size), cells)


def test_reading_order():
    assert unflat_cell([0, 1, 5], 5).tolist() == [[0, 0], [0, 1], [1, 0]]


points = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=30)


@given(points, st.integers(1, 50))
def test_every_point_is_inside_the_cell_it_is_given(xy, grid_size):
    xy = np.array(xy, np.float32)
    for (x, y), (row, col) in zip(xy.tolist(), cell_of(xy, grid_size).tolist(), strict=True):
        assert col <= x * grid_size < col + 1 or x == 1
        bottom = grid_size - 1 - row
        assert bottom <= y * grid_size < bottom + 1 or y == 1
        assert 0 <= row < grid_size
        assert 0 <= col < grid_size
    counts = counts_of(xy, grid_size)
    assert counts.shape == (grid_size, grid_size)
    assert counts.sum() == len(xy)


def test_advice_names_a_size_that_works():
    xy = np.random.default_rng(0).random((300, 2))
    size = largest_grid_with(xy, min_count=10, up_to=160)
    assert np.bincount(cell_of(xy, size) @ [size, 1]).max() >= 10
    assert np.bincount(cell_of(xy, 160) @ [160, 1]).max() < 10
    assert 4 < size < 30
    assert largest_grid_with(xy, min_count=300, up_to=40) == 1
    assert largest_grid_with(xy, min_count=301, up_to=40) == 0
    assert largest_grid_with(np.full((10, 2), 0.3), min_count=10, up_to=40) == 40
    assert largest_grid_with(np.zeros((0, 2)), min_count=1, up_to=40) == 0
