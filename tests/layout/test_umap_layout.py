import warnings

import numpy as np
import pytest

from atlas_pipeline.layout.neighbors import exact_neighbors
from atlas_pipeline.layout.umap_layout import umap_layout


def two_groups(num_rows=120):
    rng = np.random.default_rng(0)
    rows = rng.random((num_rows, 10)) * 0.2
    rows[: num_rows // 2, :5] += 1
    rows[num_rows // 2 :, 5:] += 1
    return rows.astype(np.float32)


def layout_of(rows, neighbors=None, *, num_neighbors=10, seed=0, num_epochs=30):
    found = neighbors or exact_neighbors(rows, num_neighbors)
    return umap_layout(rows, found, num_neighbors, 0.01, "cosine", seed, num_epochs)


def test_the_same_seed_gives_the_same_layout_and_no_warning():
    rows = two_groups()
    with warnings.catch_warnings():
        import umap.umap_  # noqa: F401  its own import warns about TensorFlow

        warnings.simplefilter("error")
        layout = layout_of(rows)
    assert layout.shape == (120, 2)
    assert layout.dtype == np.float32
    assert np.array_equal(layout, layout_of(rows))
    assert not np.array_equal(layout, layout_of(rows, seed=2**40))


def test_threads_do_not_change_the_layout():
    import numba

    # Copies: umap-learn's parallel mean of all distances scales rows whose neighbours are all at 0.
    rows = np.concatenate([two_groups(), np.repeat(two_groups(20), 12, axis=0)])
    before = numba.get_num_threads()
    layouts = []
    for num_threads in (1, before):
        numba.set_num_threads(num_threads)
        layouts.append(layout_of(rows))
    numba.set_num_threads(before)
    assert np.array_equal(*layouts)


def test_groups_stay_together():
    layout = layout_of(two_groups(), num_epochs=200)
    centres = layout[:60].mean(axis=0), layout[60:].mean(axis=0)
    own = np.linalg.norm(layout - np.repeat(centres, 60, axis=0), axis=1)
    other = np.linalg.norm(layout - np.repeat(centres[::-1], 60, axis=0), axis=1)
    assert (own < other).all()


def test_the_given_neighbours_are_used_and_no_others():
    """Neighbours that contradict the activations: pairs across the groups end side by side."""
    rows = two_groups()
    pair = np.arange(120) ^ 1
    other_half = np.stack([np.arange(120), (pair + 60) % 120], axis=1)
    distances = np.tile(np.array([0, 0.1], np.float32), (120, 1))
    layout = layout_of(rows, (other_half.astype(np.int32), distances), num_neighbors=2, num_epochs=200)
    paired = np.linalg.norm(layout - layout[other_half[:, 1]], axis=1)
    assert np.median(paired) < 0.2 * np.median(np.linalg.norm(layout - layout[::-1], axis=1))


def test_more_neighbours_than_asked_for_are_cut():
    rows = two_groups()
    assert np.array_equal(layout_of(rows), layout_of(rows, exact_neighbors(rows, 15)))


def test_too_few_neighbours_are_refused():
    rows = two_groups()
    with pytest.raises(ValueError, match="at least 10"):
        layout_of(rows, exact_neighbors(rows, 5))


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 5])
def test_tiny_inputs(num_rows):
    layout = layout_of(two_groups(8)[:num_rows])
    assert layout.shape == (num_rows, 2)
    assert np.isfinite(layout).all()


def test_activations_all_the_same():
    layout = layout_of(np.ones((30, 4), np.float32))
    assert np.isfinite(layout).all()
