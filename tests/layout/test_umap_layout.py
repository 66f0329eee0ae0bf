import warnings

import numpy as np
import pytest

from atlas_pipeline.layout.distinct import Distinct
from atlas_pipeline.layout.neighbors import NearVertices, neighbors
from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts


def two_groups(num_rows=120):
    rng = np.random.default_rng(0)
    rows = rng.random((num_rows, 10)) * 0.2
    rows[: num_rows // 2, :5] += 1
    rows[num_rows // 2 :, 5:] += 1
    return rows.astype(np.float32)


def nearest(rows, k):
    return neighbors([rows], len(rows), k, method="exact")


def layout_of(rows, found=None, *, num_neighbors=10, seed=0, num_epochs=30, engine="cpu", num_dimensions=2):
    settings = UmapSettings(
        num_neighbors=num_neighbors, min_dist=0.01, num_epochs=num_epochs, engine=engine, device="cpu"
    )
    found = nearest(rows, num_neighbors) if found is None else found
    return umap_layouts([rows], found, settings, [seed], num_dimensions)[0]


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

    # Include copies: umap-learn's parallel mean of all distances scales rows whose neighbours are all at 0.
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
    """The given neighbours contradict the activations: pairs across the groups end up side by side."""
    rows = two_groups()
    pair = np.arange(120) ^ 1
    other_half = np.stack([np.arange(120), (pair + 60) % 120], axis=1)
    distances = np.tile(np.array([0, 0.1], np.float32), (120, 1))
    each = Distinct(vertex=np.arange(120, dtype=np.int32), rows=np.arange(120), num_fitted=120)
    near = NearVertices(other_half.astype(np.int32), distances, each)
    layout = layout_of(rows, near, num_neighbors=2, num_epochs=200)
    paired = np.linalg.norm(layout - layout[other_half[:, 1]], axis=1)
    assert np.median(paired) < 0.2 * np.median(np.linalg.norm(layout - layout[::-1], axis=1))


def test_more_neighbours_than_asked_for_are_cut():
    rows = two_groups()
    assert np.array_equal(layout_of(rows), layout_of(rows, nearest(rows, 15)))


def test_too_few_neighbours_are_refused():
    rows = two_groups()
    with pytest.raises(ValueError, match="at least 10"):
        layout_of(rows, nearest(rows, 5))


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 5])
def test_tiny_inputs(num_rows):
    layout = layout_of(two_groups(8)[:num_rows])
    assert layout.shape == (num_rows, 2)
    assert np.isfinite(layout).all()


def test_activations_all_the_same():
    layout = layout_of(np.ones((30, 4), np.float32))
    assert np.isfinite(layout).all()


@pytest.mark.parametrize(("num_dimensions", "share"), [(2, 1), (1, 0.8)])
@pytest.mark.parametrize("engine", ["parallel", "gpu"])
def test_other_engines_keep_groups_together(engine, num_dimensions, share):
    """In one dimension a point cannot pass the others, so some stay where they were blocked."""
    layout = layout_of(two_groups(60), engine=engine, num_dimensions=num_dimensions, num_epochs=60)
    assert layout.shape == (60, num_dimensions)
    centres = np.median(layout[:30], axis=0), np.median(layout[30:], axis=0)
    own = np.linalg.norm(layout - np.repeat(centres, 30, axis=0), axis=1)
    other = np.linalg.norm(layout - np.repeat(centres[::-1], 30, axis=0), axis=1)
    assert (own < other).mean() >= share


@pytest.mark.parametrize("num_rows", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("engine", ["parallel", "gpu"])
def test_tiny_inputs_of_other_engines(engine, num_rows):
    layout = layout_of(two_groups(8)[:num_rows], engine=engine)
    assert layout.shape == (num_rows, 2)
    assert np.isfinite(layout).all()


def test_the_number_of_rows_alone_chooses_the_method():
    for device, beyond in (("cpu", "parallel"), ("cuda:1", "gpu")):
        settings = UmapSettings(num_neighbors=20, min_dist=0.01, device=device)
        assert [settings.engine_for(n) for n in (10, 65_536, 65_537)] == ["cpu", "cpu", beyond]
    assert [settings.epochs_for(n) for n in (10_000, 10_001)] == [500, 200]


def test_another_seed_starts_from_the_same_graph():
    rows = two_groups()
    settings = UmapSettings(num_neighbors=10, min_dist=0.01, num_epochs=20, engine="parallel")
    first, second = umap_layouts([rows], nearest(rows, 10), settings, [0, 1])
    assert np.array_equal(first, layout_of(rows, engine="parallel", num_epochs=20))
    assert np.array_equal(second, layout_of(rows, engine="parallel", num_epochs=20, seed=1))
    assert not np.array_equal(first, second)
