import numpy as np

from atlas_pipeline.numerics.random_keys import random_keys


def test_a_draw_hangs_on_number_and_seed_alone():
    numbers = np.arange(2000)
    assert np.array_equal(random_keys(numbers[::-1])[::-1], random_keys(numbers))
    assert len(np.unique(random_keys(numbers))) == 2000
    assert not np.isin(random_keys(numbers), random_keys(numbers, seed=1)).any()


def test_the_first_of_a_draw_are_of_any_order():
    """Ranks and row numbers are uncorrelated, within four standard deviations of 0.022 for 2,000 rows."""
    ranks = np.argsort(np.argsort(random_keys(np.arange(2000))))
    assert abs(np.corrcoef(ranks, np.arange(2000))[0, 1]) < 4 / np.sqrt(1999)
