"""The axis of a comparison: left at 0, right at 1, outliers clipped to the ends."""

import numpy as np

from atlas_pipeline.numerics.comparison import axis_scale, comparison_axis


def test_the_right_class_is_on_the_right_and_the_middle_is_neither():
    assert comparison_axis([-2.0, -1.0, 0.0, 1.0, 2.0], scale=2.0).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_an_outlier_does_not_press_the_others_together():
    difference = np.append(np.linspace(-1, 1, 999), 1000.0)
    x = comparison_axis(difference, axis_scale(difference))
    assert 0 <= x.min() < 0.01
    assert x[-1] == 1
    assert abs(x[:999].mean() - 0.5) < 0.01


def test_the_scale_is_the_99th_percentile_of_the_sizes():
    difference = np.random.default_rng(0).normal(size=5000)
    assert axis_scale(difference) == np.percentile(np.abs(difference), 99)
    assert axis_scale(-difference) == axis_scale(difference)


def test_nothing_to_compare_lies_in_the_middle():
    assert axis_scale([]) == 1.0
    assert axis_scale([0.0, 0.0]) == 1.0
    assert axis_scale([0.0] * 500 + [3.0]) == 3.0
    assert comparison_axis([0.0], axis_scale([0.0])).tolist() == [0.5]
