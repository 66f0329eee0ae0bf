import numpy as np
import pytest

from atlas_pipeline.numerics.highlight import opacity, support


def test_opacity_is_the_share_of_the_strongest_cells_attribution():
    assert opacity([0.2, 0.05, -0.4, 0.0]).tolist() == [1.0, 0.25, 0.0, 0.0]


def test_the_other_sign_lights_what_speaks_against():
    assert opacity([0.2, 0.05, -0.4, -0.1], "negative").tolist() == [0.0, 0.0, 1.0, 0.25]


def test_a_class_is_normalised_by_its_own_maximum():
    """Each column reaches 1, however much larger the other class's attributions are."""
    attribution = np.random.default_rng(0).normal(size=(40, 2)) * [1, 100]
    for column in attribution.T:
        assert opacity(column).max() == 1
        np.testing.assert_allclose(opacity(column), opacity(column * 100), rtol=1e-12)


@pytest.mark.parametrize("attribution", [[-1.0, -2.0, 0.0], [], [np.nan, -np.inf]])
def test_where_nothing_speaks_for_the_class_all_is_zero(attribution):
    assert opacity(attribution).tolist() == [0.0] * len(attribution)


def test_a_number_that_is_none_counts_for_nothing():
    assert opacity(np.array([np.nan, 2, 1, np.inf], np.float32)).tolist() == [0, 1, 0.5, 0]
    assert support([np.nan, -2.0, 1.0], "negative").tolist() == [0, 2, 0]
