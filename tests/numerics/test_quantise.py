import numpy as np
import pytest

from atlas_pipeline.numerics.quantise import COSINE_STEPS, MISSING, cosines, signed_levels, wide_levels


def test_each_sign_has_a_scale_of_its_own():
    levels, most, least = signed_levels([4.0, 2.0, 0.0, -0.02, -0.01])
    assert (most, least) == (4.0, 0.02)
    assert levels.tolist() == [127, 64, 0, -127, -64]
    assert levels.dtype == np.int8


def test_one_sign_none_and_what_is_not_a_number():
    assert signed_levels([-2.0, -1.0])[1:] == (0.0, 2.0)
    assert signed_levels([0.0, 0.0])[0].tolist() == [0, 0]
    levels, most, least = signed_levels([np.nan, np.inf, 1.0])
    assert levels.tolist() == [0, 0, 127]
    assert (most, least) == (1.0, 0.0)


def test_wide_levels_come_back_within_half_a_step():
    values = np.random.default_rng(0).normal(size=1000) * 7
    levels, step = wide_levels(values)
    assert np.abs(levels * step - values).max() <= step / 2 * 1.0001
    assert np.abs(levels).max() == 32767
    assert wide_levels([np.nan, 1.0])[0].tolist() == [MISSING, 32767]
    assert wide_levels([0.0])[0].tolist() == [0]


def test_cosines_keep_four_digits_and_know_what_is_missing():
    assert cosines([0.98765, -1.0, np.nan, -np.inf]).tolist() == [9876, -COSINE_STEPS, MISSING, MISSING]
    assert cosines([1.0000001])[0] == pytest.approx(COSINE_STEPS)
