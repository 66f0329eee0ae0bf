"""Binning into cells agrees with a simple loop over rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.numerics.cell_members import CellMembers
from atlas_pipeline.numerics.cells import CellSums, add_rows
from atlas_pipeline.numerics.random_keys import random_keys


def naive(xy, activation, attribution, grid_size, min_count, num_examples):
    members = {}
    for row, (x, y) in enumerate(xy.tolist()):
        col = min(int(x * grid_size), grid_size - 1)
        from_bottom = min(int(y * grid_size), grid_size - 1)
        members.setdefault((grid_size - 1 - from_bottom, col), []).append(row)
    cells = []
    for cell in sorted(members):
        rows = members[cell]
        if len(rows) < min_count:
            continue
        mean = activation[rows].astype(np.float64).mean(axis=0)
        if not mean.any():
            continue
        cosines = []
        for row in rows:
            norms = np.linalg.norm(activation[row].astype(np.float64)) * np.linalg.norm(mean)
            cosines.append(
                float(np.float32(activation[row].astype(np.float64) @ mean / norms if norms else 0.0))
            )
        nearest = sorted(zip([-c for c in cosines], rows, strict=True))[:num_examples]
        attributed = attribution[rows].astype(np.float64)
        cells.append((cell, rows, mean, attributed.mean(axis=0), cosines, nearest, agreeing(attributed)))
    return cells


def agreeing(attribution):
    """Share of rows whose top class (the first, if tied) is the most common top class."""
    tops = [row.index(max(row)) for row in attribution.tolist() if any(row)]
    return max((tops.count(top) for top in tops), default=0) / len(attribution)


def binned(xy, activation, attribution, grid_size, min_count=1, num_examples=9, cuts=()):
    parts = list(zip(*(np.split(a, cuts) for a in (xy, activation, attribution)), strict=True))
    sums = CellSums(grid_size)
    for part in parts:
        of_part = CellSums(grid_size)
        add_rows([of_part], *part)
        sums.merge(of_part.partial())
    cells = sums.cells(min_count)
    members = CellMembers(cells, num_examples)
    for part_xy, part_activation, _ in parts:
        members.add(part_xy, part_activation)
    return sums, cells, members


def some_rows(num_rows, seed=0, num_channels=6, dtype=np.float16):
    rng = np.random.default_rng(seed)
    xy = rng.random((num_rows, 2)).astype(np.float32)
    activation = np.maximum(rng.normal(size=(num_rows, num_channels)), 0).astype(dtype)
    return xy, activation, rng.normal(size=(num_rows, 4)).astype(dtype)


@pytest.mark.parametrize("grid_size", [1, 4, 9])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_cells_equal_the_naive_loop(grid_size, dtype):
    rows = some_rows(400, dtype=dtype)
    sums, cells, members = binned(*rows, grid_size, min_count=3, num_examples=4, cuts=(130, 131))
    expected = naive(*rows, grid_size, 3, 4)
    assert sums.counts.sum() == 400
    assert [(r, c) for r, c in zip(cells.row.tolist(), cells.col.tolist(), strict=True)] == [
        e[0] for e in expected
    ]
    assert cells.count.tolist() == [len(e[1]) for e in expected]
    assert cells.activation == pytest.approx(np.array([e[2] for e in expected]), rel=1e-6)
    assert cells.attribution == pytest.approx(np.array([e[3] for e in expected]), rel=1e-5, abs=1e-7)
    assert members.coherence() == pytest.approx(np.array([np.mean(e[4]) for e in expected]), rel=1e-5)
    assert members.nearest() == pytest.approx(np.array([max(e[4]) for e in expected]), abs=1e-6)
    assert cells.consistency == pytest.approx(np.array([e[6] for e in expected]), rel=1e-6)
    assert (members.nearest().dtype, cells.consistency.dtype) == (np.float32, np.float32)
    assert (cells.activation.dtype, cells.attribution.dtype, cells.count.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )
    examples = members.examples()
    for found, (_, _, mean, _, _, nearest, _) in zip(examples, expected, strict=True):
        assert len(set(found[: len(nearest)].tolist())) == len(nearest)
        assert (found[len(nearest) :] == -1).all()
        cosines = [_cosine(rows[1][row], mean) for row in found[: len(nearest)]]
        assert cosines == pytest.approx([-n[0] for n in nearest], abs=1e-6)


def _cosine(activation, mean):
    activation = activation.astype(np.float64)
    norms = np.linalg.norm(activation) * np.linalg.norm(mean)
    return activation @ mean / norms if norms else 0.0


coordinate = st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.75, 0.99, 1.0])
# Few distinct values, so that copies, zeros and ties are common.
row = st.tuples(coordinate, coordinate, st.integers(0, 2), st.integers(0, 2), st.integers(-2, 2))


@settings(deadline=None)
@given(
    st.lists(row, min_size=1, max_size=40),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.integers(0, 40), max_size=3),
)
def test_any_rows_in_any_parts_equal_the_naive_loop(rows, grid_size, min_count, num_examples, cuts):
    table = np.array(rows, np.float32)
    xy, activation, attribution = table[:, :2], table[:, 2:4], table[:, 4:]
    cuts = sorted(min(cut, len(rows)) for cut in cuts)
    _, cells, members = binned(xy, activation, attribution, grid_size, min_count, num_examples, cuts)
    expected = naive(xy, activation, attribution, grid_size, min_count, num_examples)
    assert cells.count.tolist() == [len(e[1]) for e in expected]
    if not expected:
        return
    assert cells.activation == pytest.approx(np.array([e[2] for e in expected]), rel=1e-6)
    assert members.coherence() == pytest.approx(np.array([np.mean(e[4]) for e in expected]), rel=1e-5)
    assert members.nearest() == pytest.approx(np.array([max(e[4]) for e in expected]), abs=1e-6)
    assert cells.consistency == pytest.approx(np.array([e[6] for e in expected]), rel=1e-6)
    _, whole_cells, whole = binned(xy, activation, attribution, grid_size, min_count, num_examples)
    assert np.array_equal(cells.consistency, whole_cells.consistency)
    assert np.array_equal(members.nearest(), whole.nearest())
    assert np.array_equal(members.examples(), whole.examples())
    assert np.array_equal(cells.activation, whole_cells.activation)


def test_equals_come_in_a_drawn_order_however_they_are_cut():
    """25 copies tie, and one row differs; taking the first nine would favour one class folder."""
    xy = np.full((26, 2), 0.3, np.float32)
    activation = np.tile(np.array([[0.1, 0.7, 0.3]], np.float32), (26, 1))
    activation[3] = [1, 0, 0]
    nothing = np.zeros((26, 1), np.float32)
    for cuts in ((), (1,), (4, 5, 20), tuple(range(1, 26))):
        _, _, members = binned(xy, activation, nothing, 1, cuts=cuts)
        copies = np.delete(np.arange(26), 3)
        assert members.examples().tolist() == [copies[np.argsort(random_keys(copies))][:9].tolist()]
        assert np.ptp(members.examples()) > 12


def test_members_of_cells_left_out_are_no_examples():
    xy = np.array([[0.9, 0.9], [0.1, 0.1], [0.1, 0.1]], np.float32)
    activation = np.eye(3, dtype=np.float32)
    _, cells, members = binned(xy, activation, activation, 2, min_count=2, num_examples=3)
    assert (cells.row.tolist(), cells.col.tolist(), cells.count.tolist()) == ([1], [0], [2])
    assert sorted(members.examples()[0, :2].tolist()) == [1, 2]
    assert members.examples()[0, 2] == -1


def test_a_cell_whose_mean_is_zero_points_nowhere_and_is_left_out():
    xy = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1]], np.float32)
    activation = np.array([[0, 0], [0, 0], [0, 0], [3, 4]], np.float16)
    sums, cells, members = binned(xy, activation, activation, 2)
    assert sums.counts.tolist() == [[2, 0], [0, 2]]
    assert (cells.row.tolist(), cells.col.tolist(), cells.count.tolist()) == ([1], [1], [2])
    # A zero member's cosine with the mean counts as 0.
    assert members.coherence() == pytest.approx([0.5])
    assert members.examples()[0, :2].tolist() == [3, 2]
    _, nothing, _ = binned(xy[:2], activation[:2], activation[:2], 2)
    assert len(nothing.row) == 0


def test_float16_sums_do_not_overflow():
    xy, large = np.full((1000, 2), 0.5, np.float32), np.full((1000, 2), 60_000, np.float16)
    _, cells, members = binned(xy, large, large, 1)
    assert cells.activation.tolist() == [[60_000, 60_000]]
    assert members.coherence().tolist() == [1]


def test_without_attributions():
    xy, activation, _ = some_rows(30)
    sums = CellSums(2)
    add_rows([sums], xy, activation)
    assert sums.cells().attribution is None
    assert sums.cells().consistency is None


def test_of_equal_classes_the_first_is_the_top_and_silence_agrees_with_nothing():
    xy = np.full((5, 2), 0.5, np.float32)
    attribution = np.array([[1, 1, 0], [2, 0, 1], [-1, -1, -1], [0, 3, 0], [0, 0, 0]], np.float16)
    sums = CellSums(1)
    add_rows([sums], xy, np.ones((5, 2), np.float16), attribution)
    # The top classes are 0, 0, 0, 1 and none.
    assert sums.cells().consistency.tolist() == [np.float32(0.6)]
    silent = CellSums(1)
    add_rows([silent], xy, np.ones((5, 2), np.float16), np.zeros((5, 3), np.float16))
    assert silent.cells().consistency.tolist() == [0]


def test_several_grids_in_one_call_are_each_as_alone():
    rows = some_rows(9000)
    together = [CellSums(size) for size in (2, 3, 6)]
    add_rows(together, *rows)
    for grid in together:
        alone = CellSums(grid.grid_size)
        add_rows([alone], *(column[:5000] for column in rows))
        add_rows([alone], *(column[5000:] for column in rows))
        for name in ("count", "activation", "attribution", "consistency"):
            assert np.array_equal(getattr(grid.cells(), name), getattr(alone.cells(), name))


def test_no_cell_is_full_enough():
    sums = CellSums(3)
    add_rows([sums], *some_rows(20))
    cells = sums.cells(min_count=50)
    assert len(cells.row) == len(cells.activation) == len(cells.consistency) == 0
    members = CellMembers(cells)
    members.add(*some_rows(20)[:2])
    assert members.coherence().shape == (0,)
    assert members.examples().shape == (0, 9)


def test_rows_that_do_not_go_together():
    with pytest.raises(ValueError, match="4 rows of values for 5 points"):
        add_rows([CellSums(2)], np.zeros((5, 2), np.float32), np.zeros((4, 3), np.float32))
