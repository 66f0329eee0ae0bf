import numpy as np
import pytest
from sklearn.decomposition import PCA

from atlas_pipeline.layout import pca as module
from atlas_pipeline.layout.pca import pca_start


def activations(num_rows=500, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(num_rows, 6)) * [1, 5, 2, 0.1, 3, 1] + 7).astype(dtype)


@pytest.mark.parametrize("at_once", [4096, 64])
def test_equals_scikit_learn_up_to_sign(at_once, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", at_once)
    rows = activations()
    expected = PCA(2).fit_transform(rows)
    start = pca_start([rows])
    assert start.dtype == np.float32
    for axis in range(2):
        sign = np.sign(start[:, axis] @ expected[:, axis])
        assert start[:, axis] == pytest.approx(sign * expected[:, axis], abs=1e-4)


def test_signs_are_fixed():
    """The largest weight is positive: on channel 1 for the first component, on channel 4 for the second."""
    rows = activations()
    start = pca_start([rows])
    assert np.corrcoef(start[:, 0], rows[:, 1])[0, 1] > 0.9
    assert np.corrcoef(start[:, 1], rows[:, 4])[0, 1] > 0.9


def test_cosine_does_not_see_the_strength():
    rows = activations()
    stronger = rows * np.random.default_rng(1).uniform(0.5, 4, (500, 1)).astype(np.float32)
    assert pca_start([stronger], metric="cosine") == pytest.approx(
        pca_start([rows], metric="cosine"), abs=1e-5
    )
    assert pca_start([stronger]) != pytest.approx(pca_start([rows]), abs=1)


def test_little_to_work_on():
    assert pca_start([np.zeros((0, 4), np.float32)]).shape == (0, 2)
    assert pca_start([np.ones((1, 4), np.float32)], metric="cosine").tolist() == [[0, 0]]
    assert not pca_start([np.zeros((5, 4), np.float32)], metric="cosine").any()
    one_channel = pca_start([np.array([[1], [3]], np.float16)])
    assert one_channel.tolist() == [[-1, 0], [1, 0]]
    assert pca_start([activations()], num_dimensions=1).shape == (500, 1)
