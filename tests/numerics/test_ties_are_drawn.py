import numpy as np

from atlas_pipeline.numerics.draws import drawn


def test_a_draw_hangs_on_number_and_seed_alone():
    numbers = np.arange(2000)
    assert np.array_equal(drawn(numbers[::-1])[::-1], drawn(numbers))
    assert len(np.unique(drawn(numbers))) == 2000
    assert not np.isin(drawn(numbers), drawn(numbers, seed=1)).any()


def test_the_first_of_a_draw_are_of_any_order():
    """Ranks and numbers are uncorrelated: 0.022 is one standard deviation of 2,000; four of them."""
    ranks = np.argsort(np.argsort(drawn(np.arange(2000))))
    assert abs(np.corrcoef(ranks, np.arange(2000))[0, 1]) < 4 / np.sqrt(1999)
