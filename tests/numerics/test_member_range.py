import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_pipeline.numerics.cell_members import CellMembers
from atlas_pipeline.numerics.cells import CellSums, add_rows
from atlas_pipeline.numerics.member_range import MemberRange

GRID = 3


def placed(num_rows, seed):
    rng = np.random.default_rng(seed)
    return rng.random((num_rows, 2)), rng.normal(size=(num_rows, 5)).astype(np.float32)


def cells_of(xy, activation, min_count=1):
    sums = CellSums(GRID)
    add_rows([sums], xy, activation)
    return sums.cells(min_count=min_count)


def ranges(cells, xy, activation, num, at_once):
    found = MemberRange(cells, len(xy))
    for start in range(0, len(xy), at_once):
        found.add(xy[start : start + at_once], activation[start : start + at_once])
    return found.rows(num)


@given(st.integers(1, 60), st.integers(0, 5), st.integers(2, 7), st.integers(1, 70))
def test_members_are_at_equal_steps_of_rank_whatever_the_parts(num_rows, seed, num, at_once):
    xy, activation = placed(num_rows, seed)
    cells = cells_of(xy, activation)
    rows, cosines = ranges(cells, xy, activation, num, at_once)
    columns = (xy[:, 0] * GRID).astype(int)
    from_top = GRID - 1 - (xy[:, 1] * GRID).astype(int)
    for cell in range(len(cells.row)):
        members = np.flatnonzero((columns == cells.col[cell]) & (from_top == cells.row[cell]))
        mean = activation[members].mean(axis=0)
        cosine = (
            activation[members] @ mean / np.linalg.norm(activation[members], axis=1) / np.linalg.norm(mean)
        )
        wanted = np.unique(np.rint(np.linspace(0, len(members) - 1, num)).astype(int))
        kept = rows[cell][rows[cell] >= 0]
        assert len(set(kept.tolist()) & set(members.tolist())) == len(kept) == len(wanted)
        # Members of equal cosine may change places.
        of_kept = cosine[np.searchsorted(members, kept)]
        assert of_kept == pytest.approx(np.sort(cosine)[::-1][wanted], abs=1e-5)
        assert cosines[cell][rows[cell] >= 0] == pytest.approx(np.sort(cosine)[::-1][wanted], abs=1e-5)
        assert np.isnan(cosines[cell][rows[cell] < 0]).all()


def test_the_first_is_the_nearest_example_also_among_equals():
    xy = np.full((40, 2), 0.5)
    activation = np.repeat(np.eye(2, 4, dtype=np.float32), 20, axis=0)
    cells = cells_of(xy, activation)
    members = CellMembers(cells)
    members.add(xy, activation)
    rows, _ = ranges(cells, xy, activation, 7, 40)
    assert rows[0, 0] == members.examples()[0, 0]
    assert len(set(rows[0].tolist())) == 7


def test_rows_outside_the_cells_are_left_out():
    xy, activation = placed(50, 1)
    cells = cells_of(xy, activation, min_count=6)
    assert 0 < len(cells.row) < GRID**2
    rows, _ = ranges(cells, xy, activation, 3, 50)
    assert (rows >= 0).all()
    assert len(ranges(cells_of(xy, activation, min_count=99), xy, activation, 3, 50)[0]) == 0
