import numpy as np
import pytest

from atlas_pipeline.numerics.whitening import EmptyActivationsError, SecondMoment, precision, second_moment


def rows(num_rows=300, num_channels=5, dtype=np.float32):
    return np.maximum(np.random.default_rng(0).normal(size=(num_rows, num_channels)), 0).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_is_the_uncentred_second_moment(dtype):
    activations = rows(dtype=dtype)
    expected = np.zeros((5, 5))
    for activation in activations.astype(np.float64):
        expected += np.outer(activation, activation) / len(activations)
    moment = second_moment(activations)
    assert moment.dtype == np.float64
    assert moment == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(moment, moment.T)


def test_shards_in_any_order_and_merged_give_the_same():
    activations = rows()
    merged, other = SecondMoment(), SecondMoment()
    other.add(activations[:10])
    other.add(activations[10:150])
    merged.add(activations[150:])
    merged.add(activations[:0])
    merged.merge(other)
    merged.merge(SecondMoment())
    assert merged.num_rows == 300
    assert merged.value() == pytest.approx(second_moment(activations), rel=1e-12)
    assert other.value() == pytest.approx(second_moment(activations[:150]), rel=1e-12)


def test_small_eigenvalues_survive_many_rows():
    """A float32 sum over these rows would lose the eigenvalue 1e-6 next to 1."""
    activations = np.tile(np.array([[1, 1e-3], [1, -1e-3]], np.float32), (100_000, 1))
    assert np.linalg.eigvalsh(second_moment(activations))[0] == pytest.approx(1e-6, rel=1e-4)


def test_precision_inverts_moment_plus_ridge():
    moment = second_moment(rows())
    ridge = 0.01 * np.trace(moment) / 5
    inverse = precision(moment, ridge=0.01)
    assert inverse @ (moment + ridge * np.eye(5)) == pytest.approx(np.eye(5), abs=1e-10)
    assert np.array_equal(inverse, inverse.T)


def test_a_singular_moment_is_inverted():
    """A dead channel, a copied channel, and fewer rows than channels."""
    activations = rows(3, 6)
    activations[:, 1] = 0
    activations[:, 2] = activations[:, 3]
    inverse = precision(second_moment(activations))
    assert np.isfinite(inverse).all()
    assert (np.linalg.eigvalsh(inverse) > 0).all()


@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_scaling_activations_scales_the_precision_alone(scale):
    activations = rows().astype(np.float64)
    scaled = precision(second_moment(activations * scale))
    assert scaled * scale**2 == pytest.approx(precision(second_moment(activations)), rel=1e-6)


def test_nothing_to_whiten_by():
    with pytest.raises(EmptyActivationsError, match="there are none"):
        second_moment(np.zeros((0, 4), np.float32))
    with pytest.raises(EmptyActivationsError, match="zero"):
        precision(second_moment(np.zeros((9, 4), np.float32)))


def test_what_has_no_inverse_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        second_moment(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="ridge"):
        precision(np.eye(2), ridge=0)
