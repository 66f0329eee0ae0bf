"""Every selection agrees with a simple loop over rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_pipeline.numerics import select
from atlas_pipeline.numerics.random_keys import random_keys
from atlas_pipeline.numerics.select import ClassRequest, ComparisonRequest, Selections
from atlas_pipeline.numerics.top_rows import TopRows

DRAWN = random_keys(np.arange(5000)).tolist()


def naive(attribution, request):
    """Map each selected row to its value."""
    rows = attribution.astype(np.float64).tolist()
    if isinstance(request, ComparisonRequest):
        both = _largest(rows, request.left, request.top, 1) | _largest(rows, request.right, request.top, 1)
        return {row: rows[row][request.right] - rows[row][request.left] for row in both}
    factor, chosen = (1 if request.sign == "positive" else -1), set()
    if request.filter != "magnitude":
        for number, row in enumerate(rows):
            signed = [factor * value for value in row]
            if max(signed) > 0 and signed.index(max(signed)) == request.column:
                chosen.add(number)
    if request.filter != "rank":
        chosen |= _largest(rows, request.column, request.top, factor)
    return {row: rows[row][request.column] for row in chosen}


def _largest(rows, column, top, factor):
    speaking = [
        (-factor * row[column], number) for number, row in enumerate(rows) if factor * row[column] > 0
    ]
    return {number for _, number in sorted(speaking, key=lambda one: (one[0], DRAWN[one[1]]))[:top]}


def all_requests(num_classes, tops):
    requests = [
        ClassRequest(column=column, filter=kind, sign=sign, top=top)
        for column in range(num_classes)
        for kind in ("rank", "magnitude", "both")
        for sign in ("positive", "negative")
        for top in tops
    ]
    pairs = [(left, right) for left in range(num_classes) for right in range(num_classes) if left != right]
    return requests + [ComparisonRequest(left=a, right=b, top=top) for a, b in pairs for top in tops]


def chosen(attribution, requests, cuts=()):
    selections = Selections(requests)
    for part in np.split(attribution, cuts):
        selections.add(part)
    return [selections.selected(request) for request in requests]


def some_attributions(num_rows, num_classes=4, seed=0):
    """Attributions with few distinct values: many ties, and zeros of both signs."""
    values = np.array([-2, -1, -0.5, -0.0, 0.0, 0.5, 1, 2], np.float16)
    return np.random.default_rng(seed).choice(values, (num_rows, num_classes))


@given(
    num_rows=st.integers(0, 60),
    num_classes=st.integers(2, 4),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 60), max_size=4).map(sorted),
    block=st.sampled_from([1, 9, 1000]),
)
@settings(max_examples=60, deadline=None)
def test_every_selection_is_the_loops(num_rows, num_classes, seed, cuts, block):
    attribution = some_attributions(num_rows, num_classes, seed)
    requests = all_requests(num_classes, tops=(2, 7, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "BLOCK_VALUES", block)
        found = chosen(attribution, requests, cuts)
    for request, selection in zip(requests, found, strict=True):
        expected = naive(attribution, request)
        assert selection.rows.tolist() == sorted(expected), request
        assert selection.value.tolist() == [expected[row] for row in sorted(expected)]
        assert selection.rows.dtype == np.int64
        assert selection.value.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_many_rows_of_many_values(dtype, monkeypatch):
    monkeypatch.setattr(select, "BLOCK_VALUES", 1000)
    attribution = np.random.default_rng(1).normal(size=(5000, 5)).astype(dtype)
    requests = all_requests(5, tops=(40, 300))
    whole = chosen(attribution, requests)
    for request, one, other in zip(
        requests, whole, chosen(attribution, requests, cuts=(7, 8, 2000)), strict=True
    ):
        assert one.rows.tolist() == other.rows.tolist() == sorted(naive(attribution, request))
        np.testing.assert_array_equal(one.value, other.value)


def test_one_column_alone_is_chosen_as_among_all():
    attribution = some_attributions(500, seed=3)
    for request in all_requests(4, tops=(5,)):
        (alone,) = chosen(attribution, [request])
        (among,) = chosen(attribution, [request, *all_requests(4, tops=(5, 90))])[:1]
        assert alone.rows.tolist() == among.rows.tolist()


def test_what_both_filters_choose_is_there_once():
    attribution = np.array([[3, 1], [2, 4], [1, 0], [-1, -2]], np.float16)
    (both,) = chosen(attribution, [ClassRequest(column=0, filter="both", top=2)])
    # Magnitude selects rows 0 and 1, rank selects 0 and 2; the highest value of row 3 is negative.
    assert both.rows.tolist() == [0, 1, 2]
    assert both.value.tolist() == [3, 2, 1]


def test_a_comparison_is_right_minus_left_of_the_union():
    attribution = np.array([[3, 1], [2, 4], [1, 0], [5, 6], [-9, -8]], np.float32)
    (compared,) = chosen(attribution, [ComparisonRequest(left=0, right=1, top=2)])
    assert compared.rows.tolist() == [0, 1, 3]
    assert compared.value.tolist() == [-2, 2, 1]


@pytest.mark.parametrize("num_rows", [0, 1])
def test_no_row_and_one_row(num_rows):
    attribution = np.array([[0.5, -0.5]], np.float16)[:num_rows]
    for request in all_requests(2, tops=(3,)):
        for parts in ([attribution], []) if not num_rows else ([attribution],):
            selections = Selections([request])
            for part in parts:
                selections.add(part)
            assert selections.selected(request).rows.tolist() == sorted(naive(attribution, request))


def test_nothing_speaks_for_a_class_that_has_only_zeros():
    attribution = np.zeros((50, 3), np.float16)
    assert all(len(s.rows) == 0 for s in chosen(attribution, all_requests(3, tops=(5,))))


def test_equal_attributions_are_taken_from_all_rows():
    """In four blocks of 100 rows, like class folders, a draw of 100 takes 25 +- 4 from each."""
    attribution = np.ones((400, 2), np.float16)
    (selection,) = chosen(attribution, [ClassRequest(column=0, filter="magnitude", top=100)], cuts=(150,))
    of_block = np.bincount(selection.rows // 100, minlength=4)
    assert of_block.sum() == 100
    # Hypergeometric: one standard deviation is 3.75, and the limit is four of them.
    assert np.abs(of_block - 25).max() <= 15


def test_rows_held_are_bounded():
    top = TopRows(10)
    rng = np.random.default_rng(0)
    for start in range(0, 20_000, 5):
        top.add(np.arange(start, start + 5), rng.random(5, np.float32) + 1)
        assert sum(len(rows) for rows in top._rows) < 25
    assert len(top.first(10)[0]) == 10
