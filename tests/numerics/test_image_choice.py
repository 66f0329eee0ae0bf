import numpy as np

from atlas_pipeline.numerics.image_choice import chosen_images


def test_earlier_tiers_come_first_and_no_image_twice():
    assert chosen_images([[5, 5, 2], [2, 9], [1]], most=9).tolist() == [1, 2, 5, 9]
    assert chosen_images([], most=3).tolist() == []


def test_of_the_tier_that_does_not_fit_images_at_equal_steps_are_taken():
    chosen = chosen_images([[1000], np.arange(100)], most=12)
    assert len(chosen) == 12
    assert chosen[-1] == 1000
    steps = np.diff(chosen[:-1])
    assert (chosen[0], chosen[-2]) == (0, 99)
    assert steps.max() - steps.min() <= 1


def test_no_tier_is_read_after_the_last_that_is_needed():
    def tiers():
        yield [1, 2]
        yield [3]
        raise AssertionError("not needed")

    assert chosen_images(tiers(), most=3).tolist() == [1, 2, 3]
