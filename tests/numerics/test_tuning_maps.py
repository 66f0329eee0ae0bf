"""Maps of responses: agreement under rotation beside a plain loop, families, symmetry, correlation."""

import numpy as np
import pytest

from atlas_pipeline.numerics.tuning import (
    correlation,
    families,
    largest_gap,
    null_agreements,
    oriented,
    oriented_share,
    pair_agreements,
    rotated_agreement,
    swing,
)

NUM = 16


def bump(centre, width=1.5):
    """(O,): a peak at an orientation, in steps."""
    away = np.mod(np.arange(NUM) - centre + NUM / 2, NUM) - NUM / 2
    return np.exp(-((away / width) ** 2))


def unit(centre, gains=(3.0, 1.0, 2.0), offsets=(0.0, 0.5, -1.0)):
    """(O, C): a tuned unit with three conditions."""
    return bump(centre)[:, None] * gains + np.asarray(offsets)


def test_agreement_and_rotation_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(3, NUM, 4)), rng.normal(size=(2, NUM, 4))
    agreement, rotation = rotated_agreement(one, other)
    for u in range(3):
        for v in range(2):
            curve = [
                np.corrcoef(np.roll(oriented(one[u]), -k, axis=0).ravel(), oriented(other[v]).ravel())[0, 1]
                for k in range(NUM)
            ]
            assert agreement[u, v] == pytest.approx(max(curve), abs=1e-9)
            assert rotation[u, v] == int(np.argmax(curve))


def test_a_map_turned_by_five_steps_agrees_at_five_steps():
    first = unit(3)
    agreement, rotation = rotated_agreement(np.roll(first, 5, axis=0)[None], first[None])
    assert agreement[0, 0] == pytest.approx(1)
    assert rotation[0, 0] == 5


def test_pairs_are_symmetric_and_a_map_agrees_with_itself():
    maps = np.random.default_rng(1).normal(size=(70, NUM, 2))
    agreement, rotation = pair_agreements(maps)
    assert (agreement == agreement.T).all()
    assert np.allclose(np.diag(agreement), 1)
    assert (np.mod(rotation + rotation.T, NUM) == 0).all()
    # Rows are computed in blocks; the last block is like the first.
    one, turned = rotated_agreement(maps[69][None], maps[2][None])
    assert agreement[69, 2] == pytest.approx(one[0, 0])
    assert rotation[69, 2] == turned[0, 0]


def test_families_are_found_and_ordered_by_orientation():
    rng = np.random.default_rng(2)
    first = [unit(centre) for centre in (9, 1, 5, 13)]
    second = [unit(centre, gains=(0.2, 3.0, -3.0)) for centre in (2, 10, 6)]
    maps = np.stack([*first, *second, unit(4, gains=(-3, -1, -2))]) + rng.normal(0, 0.01, (8, NUM, 3))
    found = families(maps, 0.8, 3)
    assert [family.members.tolist() for family in found] == [[1, 2, 0, 3], [4, 6, 5]]
    one = found[0]
    assert np.allclose(one.orientation, np.array([1, 5, 9, 13]) * 360 / NUM, atol=1)
    assert one.rotation.tolist() == [1, 5, 9, 13]
    assert (one.condition, one.period) == (0, 360)
    assert one.joint[:, 0].argmax() == 0
    assert (one.agreement > 0.99).all()


def test_orientations_between_steps_are_found():
    maps = np.stack([unit(centre) for centre in (0, 4.4, 8.7)])
    (family,) = families(maps, 0.8, 3)
    assert np.allclose(family.orientation, np.array([0, 4.4, 8.7]) * 360 / NUM, atol=2)


def test_a_family_that_repeats_after_180_degrees_says_so():
    maps = np.stack([unit(centre) + unit(centre + NUM / 2) for centre in (1, 3, 6)])
    (family,) = families(maps, 0.8, 3)
    assert family.period == 180
    assert np.allclose(family.orientation, np.array([1, 3, 6]) * 360 / NUM, atol=1)


def test_an_inverted_map_joins_no_family():
    maps = np.stack([unit(0), unit(4), unit(8), -unit(12)])
    (family,) = families(maps, 0.8, 3)
    assert family.members.tolist() == [0, 1, 2]


def test_too_few_maps_make_no_family():
    assert families(np.empty((0, NUM, 3)), 0.8, 3) == []
    assert families(unit(0)[None], 0.8, 2) == []


def test_a_constant_map_is_not_oriented_and_agrees_with_nothing():
    constant = np.full((1, NUM, 3), 2.0)
    assert oriented_share(constant).tolist() == [0]
    assert swing(constant).tolist() == [0]
    assert rotated_agreement(constant, unit(0)[None])[0].tolist() == [[0]]


def test_the_share_of_orientation_is_that_of_the_variance():
    flat = np.broadcast_to(np.array([0.0, 2.0]), (NUM, 2))
    waves = np.stack([np.cos(2 * np.pi * np.arange(NUM) / NUM)] * 2, axis=1)
    # Variances: 1 between the conditions, 0.5 over orientation.
    assert oriented_share((flat + waves)[None])[0] == pytest.approx(1 / 3)


def test_shuffled_maps_agree_less_than_true_ones():
    maps = np.stack([unit(centre, gains=(3, 2, 2.5)) for centre in range(NUM)])
    null = null_agreements(maps, 200, seed=0)
    assert null.shape == (200,)
    assert (null == null_agreements(maps, 200, seed=0)).all()
    assert np.median(null) < 0.9 < pair_agreements(maps)[0].min()


def test_correlation_is_that_of_curves_less_their_own_means():
    one = np.stack([bump(2), 5 + bump(7)])
    assert correlation(one, 3 * one + np.array([[1], [-2]])) == pytest.approx(1)
    assert correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(correlation(one, np.ones_like(one)))


def test_the_largest_gap_goes_round():
    assert largest_gap([350, 10], 360) == 340
    assert largest_gap([0, 90, 180, 270], 360) == 90
