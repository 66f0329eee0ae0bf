import numpy as np

from atlas_pipeline.numerics.cell_means import cell_means


def test_means_are_those_of_a_naive_loop_and_leave_out_what_is_not_known():
    rng = np.random.default_rng(0)
    cell, values = rng.integers(-1, 6, 300), rng.normal(size=300)
    values[rng.random(300) < 0.3] = np.nan
    values[0] = np.inf
    means = cell_means(cell, values, 8)
    for number in range(6):
        members = values[(cell == number) & np.isfinite(values)]
        assert np.isclose(means[number], members.mean(), rtol=1e-12)
    assert np.isnan(means[6:]).all()


def test_of_zeros_and_ones_it_is_the_share_of_ones():
    assert cell_means([0, 0, 0, 1], [1, 0, np.nan, 1], 3)[:2].tolist() == [0.5, 1.0]


def test_no_members():
    assert np.isnan(cell_means([], [], 2)).all()
