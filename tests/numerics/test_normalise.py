import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlas_pipeline.numerics.normalise import normalise_layout


def test_an_outlier_ends_at_the_margin():
    """0 to 100 in even steps: the percentiles 1 and 99 span 98, so a margin of 0.1 ends at -8.8 and 108.8."""
    line = np.arange(101.0)
    xy = np.stack([line, line], axis=1)
    xy[0, 0], xy[100, 0] = -1e6, 1e6
    normal = normalise_layout(xy)
    assert normal[[0, 100], 0].tolist() == [0, 1]
    assert normal[50].tolist() == pytest.approx([0.5, 0.5])
    assert normal[1, 0] == pytest.approx((1 + 8.8) / (108.8 + 8.8), rel=1e-6)


def test_without_outliers_the_layout_fills_the_square():
    xy = np.random.default_rng(0).random((500, 2)) * [3, 700] - 5
    normal = normalise_layout(xy)
    assert normal.dtype == np.float32
    assert normal.min(axis=0).tolist() == [0, 0]
    assert normal.max(axis=0).tolist() == [1, 1]
    assert normal == pytest.approx((xy - xy.min(0)) / np.ptp(xy, axis=0), abs=1e-6)


def test_a_constant_axis_is_in_the_middle():
    assert normalise_layout([[3.0, 1.0], [3.0, 2.0]]).tolist() == [[0.5, 0], [0.5, 1]]
    assert normalise_layout([[3.0, 1.0]]).tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match="row 2"):
        normalise_layout([[0, 0], [1, 1], [0, bad], [bad, 0]])


def test_no_rows():
    assert normalise_layout(np.zeros((0, 2))).shape == (0, 2)


@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-1e6, 1e6, width=32)))
def test_always_in_the_unit_square_and_in_order(xy):
    normal = normalise_layout(xy)
    assert normal.min() >= 0
    assert normal.max() <= 1
    for axis in range(2):
        assert (np.diff(normal[np.argsort(xy[:, axis]), axis]) >= 0).all()
