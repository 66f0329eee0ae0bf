import numpy as np
import pytest

from atlas_pipeline.numerics import fidelity as module
from atlas_pipeline.numerics.fidelity import (
    chance_fidelity,
    fidelity,
    fidelity_centred,
    fidelity_whitened,
    metric_root,
    round_trip,
)

RNG = np.random.default_rng(0)


def cosine(a, b, metric=None):
    metric = np.eye(len(a)) if metric is None else metric
    return a @ metric @ b / np.sqrt((a @ metric @ a) * (b @ metric @ b))


def test_fidelity_is_the_cosine_of_each_pair():
    h, v = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 7))
    np.testing.assert_allclose(fidelity(h, v), [cosine(a, b) for a, b in zip(h, v, strict=True)], rtol=1e-6)


def test_fidelity_does_not_hear_strength():
    h, v = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    np.testing.assert_allclose(fidelity(1e4 * h, v), fidelity(h, 1e-4 * v), rtol=1e-6)


def test_an_icon_without_activation_has_no_fidelity():
    assert fidelity(np.zeros((1, 3)), np.ones((1, 3))).tolist() == [0.0]


def test_of_others_is_the_median_over_a_naive_loop():
    h, v = RNG.normal(size=(6, 5)), RNG.normal(size=(4, 5))
    h[2] = 0
    want = [np.median([0.0 if not a.any() else cosine(a, b) for a in h]) for b in v]
    np.testing.assert_allclose(chance_fidelity(h, v), want, rtol=1e-6)
    assert chance_fidelity(h, v).dtype == np.float32
    assert chance_fidelity(h, np.zeros((0, 5))).shape == (0,)
    with pytest.raises(ValueError, match="must be"):
        chance_fidelity(h, np.ones((2, 4)))


def test_whitened_fidelity_is_the_cosine_in_the_metric():
    h, v, samples = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=(20, 3)) * [1, 5, 0.2]
    precision = np.linalg.inv(samples.T @ samples / 20)
    want = [cosine(a, b, precision) for a, b in zip(h, v, strict=True)]
    np.testing.assert_allclose(fidelity_whitened(h, v, metric_root(precision)), want, rtol=1e-5)
    np.testing.assert_allclose(fidelity_whitened(h, v, metric_root(np.eye(3))), fidelity(h, v), rtol=1e-6)


def test_centred_fidelity_is_the_cosine_of_the_deviations_from_the_layers_mean():
    mean = RNG.normal(size=3) + 5
    h, v = RNG.normal(size=(4, 3)) + 5, RNG.normal(size=(4, 3)) + 5
    want = [cosine(a - mean, b - mean) for a, b in zip(h, v, strict=True)]
    np.testing.assert_allclose(fidelity_centred(h, v, mean), want, rtol=1e-5)
    assert fidelity_centred(mean[None], v[:1], mean).tolist() == [0.0]


def test_round_trip_equals_a_naive_loop_across_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)
    h, v = RNG.normal(size=(11, 5)), RNG.normal(size=(9, 5))
    own = RNG.integers(0, 9, size=11)
    want = [sum(cosine(a, b) > cosine(a, v[mine]) for b in v) for a, mine in zip(h, own, strict=True)]
    assert round_trip(h, v, own).tolist() == want


def test_round_trip_of_the_means_themselves_is_zero():
    v = RNG.normal(size=(6, 4))
    assert round_trip(v, v).tolist() == [0] * 6


def test_a_dead_icon_comes_last():
    assert round_trip(np.zeros((1, 4)), RNG.normal(size=(6, 4)), np.array([2])).tolist() == [5]


@pytest.mark.parametrize(
    ("h", "v"),
    [
        (np.ones((2, 3)), np.ones((3, 3))),
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.full((1, 2), np.nan), np.ones((1, 2))),
    ],
)
def test_shapes_that_do_not_fit_and_nan_are_refused(h, v):
    with pytest.raises(ValueError, match="must"):
        fidelity(h, v)


def test_own_cells_must_exist():
    with pytest.raises(ValueError, match="own must name a cell"):
        round_trip(np.ones((2, 3)), np.ones((2, 3)), np.array([0, 2]))
