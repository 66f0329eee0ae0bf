import numpy as np
import pytest

from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.layout.placing import add_unfitted, place_unfitted


def test_the_rest_lands_where_its_neighbours_are():
    """Three clusters: every row that was not fitted lands in its own cluster."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(3, size=200)
    rows = (np.eye(3)[cluster] * 5 + rng.random((200, 3))).astype(np.float32)
    fitted = np.arange(0, 200, 2)
    layout = (np.array([[0, 0], [9, 0], [0, 9]])[cluster[fitted]] + rng.random((100, 2))).astype(np.float32)
    near = neighbors([rows], 200, 6, fitted=fitted, metric="euclidean")
    of_fitted, of_rest = near.same.rows[:100], near.same.rows[100:]
    assert (np.sort(of_fitted) == fitted).all()
    laid = layout[of_fitted // 2]
    whole = add_unfitted(laid, near, 6)
    assert np.array_equal(whole[:100], laid)
    places = whole[100:]
    centres = np.stack([layout[cluster[fitted] == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == cluster[of_rest]).all()
    # A weighted mean of places lies within their bounding box.
    for place, near_place in zip(places, laid[near.unfitted()[0]], strict=True):
        assert (near_place.min(axis=0) - 1e-5 <= place).all()
        assert (place <= near_place.max(axis=0) + 1e-5).all()


@pytest.mark.parametrize("num_rows", [0, 1])
def test_nothing_or_one_to_place(num_rows):
    layout = np.random.default_rng(0).random((10, 2)).astype(np.float32)
    near = np.zeros((num_rows, 2), np.int32), np.ones((num_rows, 2), np.float32)
    assert place_unfitted(layout, near, 6).shape == (num_rows, 2)
