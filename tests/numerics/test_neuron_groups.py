from __future__ import annotations

import numpy as np
import pytest

from atlas_pipeline.numerics.neuron_groups import group_attribution, neuron_groups, rank_of
from atlas_pipeline.numerics.picture_numbers import map_attribution, units_above


def _two_parts(num_positions=30, num_channels=12):
    """Activations made of two groups of channels at two places."""
    rng = np.random.default_rng(0)
    weights = np.zeros((num_positions, 2))
    weights[:12, 0] = rng.uniform(1, 2, 12)
    weights[10:, 1] = rng.uniform(1, 2, num_positions - 10)
    directions = np.zeros((2, num_channels))
    directions[0, :5] = rng.uniform(0.5, 1, 5)
    directions[1, 5:] = rng.uniform(0.5, 1, num_channels - 5)
    return weights, directions


def test_groups_that_made_the_activations_are_found():
    weights, directions = _two_parts()
    found = neuron_groups(weights @ directions, 2, seed=0)
    assert found.explained > 0.999
    cosine = found.directions @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    assert sorted(cosine.argmax(axis=1).tolist()) == [0, 1]
    assert cosine.max(axis=1).min() > 0.99
    assert np.linalg.norm(found.directions, axis=1) == pytest.approx(1)


def test_largest_group_comes_first():
    weights, directions = _two_parts()
    sums = neuron_groups(weights @ directions, 2, seed=0).weights.sum(axis=0)
    assert sums[0] > sums[1]


def test_same_seed_gives_the_same_groups():
    activations = np.random.default_rng(3).gamma(1, size=(40, 20))
    one, other = (neuron_groups(activations, 4, seed=7) for _ in range(2))
    assert np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.directions, other.directions)


def test_more_groups_than_rank_are_refused():
    weights, directions = _two_parts()
    assert rank_of(weights @ directions) == 2
    with pytest.raises(ValueError, match="3 groups of activations of rank 2"):
        neuron_groups(weights @ directions, 3, seed=0)


def test_negative_activations_count_as_zero():
    weights, directions = _two_parts()
    activations = weights @ directions
    lowered = np.where(activations == 0, -5.0, activations)
    one, other = (neuron_groups(some, 2, seed=0) for some in (activations, lowered))
    assert np.array_equal(one.weights, other.weights)


def test_attributions_of_exact_groups_add_up_to_the_whole():
    weights, directions = _two_parts()
    activations = weights @ directions
    gradients = np.random.default_rng(5).normal(size=(3, 12, 30))
    found = neuron_groups(activations, 2, seed=0)
    by_group = group_attribution(found, gradients)
    by_position, _ = map_attribution(activations, gradients)
    assert by_group.shape == (2, 3)
    assert by_group.sum(axis=0) == pytest.approx(by_position.sum(axis=1), rel=1e-2, abs=1e-2)


def test_attribution_by_place_and_channel_is_that_of_a_loop():
    rng = np.random.default_rng(1)
    activations, gradients = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 4))
    positions, channels = np.zeros((2, 4)), np.zeros((2, 3))
    for k in range(2):
        for p in range(4):
            for c in range(3):
                positions[k, p] += activations[p, c] * gradients[k, c, p]
                channels[k, c] += activations[p, c] * gradients[k, c, p]
    found = map_attribution(activations, gradients)
    assert found[0] == pytest.approx(positions)
    assert found[1] == pytest.approx(channels)


def test_units_that_never_vary_come_last():
    units, above = units_above(np.array([[5.0, 9.0, 1.0]]), np.zeros(3), np.array([1.0, 0.0, 1.0]), 3)
    assert units.tolist() == [[0, 2, 1]]
    assert above.tolist() == [[5.0, 1.0, -np.inf]]
