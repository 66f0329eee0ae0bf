import numpy as np
import pytest

from atlas_pipeline.numerics.rates import (
    at_places,
    best_places,
    difference_rate,
    held_out,
    share_rate,
    wilson,
)
from atlas_pipeline.patch_test.summary import summarise


def test_wilsons_interval_is_the_one_in_the_books():
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0, 0.1611), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((1, 0.8389, 1), abs=5e-5)
    with pytest.raises(ValueError, match="at least one trial"):
        wilson(0, 0)


def test_images_that_all_patches_agree_on_count_as_images_and_not_as_pairs():
    rng = np.random.default_rng(0)
    of_image = rng.random(200) < 0.3
    rate = share_rate(np.tile(of_image, (10, 1)), seed=0)
    alone = wilson(int(of_image.sum()), 200)
    assert rate.mean == alone.mean
    assert rate.high - rate.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_patches_that_all_images_agree_on_count_as_patches():
    rate = share_rate(np.repeat([[True]] * 3 + [[False]] * 7, 1000, axis=1), seed=0)
    # Ten draws of a coin with p = 0.3 have a standard error of 0.145, so about 0.28 to either side.
    assert rate.mean == pytest.approx(0.3)
    assert (rate.low, rate.high) == pytest.approx((0.0, 0.6), abs=0.11)


def test_intervals_of_independent_outcomes_cover_the_truth_and_are_little_wider_than_need_be():
    covered, width = 0, 0.0
    for seed in range(40):
        outcomes = np.random.default_rng(seed).random((10, 60)) < 0.4
        rate = share_rate(outcomes, seed=seed)
        covered += rate.low <= 0.4 <= rate.high
        width += (rate.high - rate.low) / 40
    pooled = wilson(240, 600)
    assert covered >= 38
    assert 1.0 < width / (pooled.high - pooled.low) < 2.0


def test_where_nothing_ever_happens_the_interval_is_that_of_the_images():
    assert share_rate(np.zeros((10, 50), bool), seed=0) == wilson(0, 50)
    assert share_rate(np.ones((10, 50), bool), seed=0) == wilson(50, 50)
    reach = wilson(0, 50).high
    same = np.random.default_rng(0).random((10, 50)) < 0.5
    assert difference_rate(same, same, seed=0) == (0, -reach, reach)
    with pytest.raises(ValueError, match="0 images"):
        share_rate(np.zeros((3, 0), bool), seed=0)


def test_a_difference_is_taken_pair_by_pair():
    easy = np.random.default_rng(0).random(400) < 0.5
    ours = np.tile(easy, (5, 1))
    theirs = ours.copy()
    theirs[:, np.flatnonzero(easy)[:20]] = False
    rate = difference_rate(ours, theirs, seed=0)
    assert rate.mean == pytest.approx(0.05)
    # The spread between images cancels. Two separate intervals of 0.05 to either side would overlap.
    assert 0.02 < rate.low < rate.high < 0.08


def test_a_large_bootstrap_in_pieces_is_the_one_in_one_piece(monkeypatch):
    outcomes = np.random.default_rng(0).random((4, 30)) < 0.5
    whole = share_rate(outcomes, seed=1)
    monkeypatch.setattr("atlas_pipeline.numerics.rates._WEIGHTS_AT_ONCE", 700)
    assert share_rate(outcomes, seed=1) == whole


def test_the_best_place_is_each_patchs_own_and_the_first_of_equals():
    outcomes = np.zeros((2, 3, 4), bool)
    outcomes[0, 1, :2] = outcomes[0, 2, 2:] = True
    outcomes[1, 2] = True
    places = best_places(outcomes)
    assert places.tolist() == [1, 2]
    assert at_places(outcomes, places).tolist() == [[True, True, False, False], [True] * 4]


def test_held_out_places_are_chosen_on_the_other_half():
    outcomes = np.zeros((1, 2, 4), bool)
    outcomes[0, 0, ::2] = True  # place 0 works on images 0 and 2 alone
    outcomes[0, 1, 1::2] = True
    # Place 1 is best on images 1 and 3 but fails on 0 and 2; place 0 does the reverse.
    assert held_out(outcomes).tolist() == [[False] * 4]
    assert held_out(np.ones((1, 2, 1), bool)).tolist() == [[True]]


def test_the_best_of_many_places_is_lucky_and_held_out_it_is_not():
    outcomes = np.random.default_rng(0).random((50, 12, 40)) < 0.3
    best = at_places(outcomes, best_places(outcomes)).mean()
    assert best > 0.39
    assert held_out(outcomes).mean() == pytest.approx(0.3, abs=0.03)


def test_a_summary_counts_kind_by_kind():
    kinds = ["icon", "icon", "crop", "crop", "noise", "noise", "random"]
    becomes = np.zeros((7, 4, 10), bool)
    becomes[0, 1] = True  # the first icon: always at place 1
    becomes[1, 1, :5] = becomes[1, 3, 2:] = True  # the second: never at one place, always at one of two
    becomes[4, 1, :2] = True
    leaves = becomes.copy()
    leaves[6, 1] = True
    icon, crop, noise, random = summarise(becomes, leaves, kinds, fixed_place=1, seed=0)
    assert [s.kind for s in (icon, crop, noise, random)] == ["icon", "crop", "noise", "random"]
    assert (icon.becomes.mean, icon.best.mean, icon.top.mean) == (0.75, 1.0, 1.0)
    assert icon.held_out.mean == pytest.approx(0.9)
    assert (icon.num_patches, icon.top_patch, icon.top_place) == (2, 0, 1)
    assert icon.over_noise.mean == pytest.approx(0.65)
    assert crop.over_noise.mean == pytest.approx(-0.1)
    assert noise.over_noise is None
    assert (random.becomes.mean, random.leaves.mean, random.num_patches) == (0, 1, 1)
