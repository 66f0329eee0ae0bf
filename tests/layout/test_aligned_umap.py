"""Joint layouts of layers bring each image's places closer; thread count and row order do not matter."""

from itertools import pairwise

import numba
import numpy as np
import pytest

from atlas_pipeline.layout.aligned_umap import AlignedLayer, _noisy_starts, aligned_layouts
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.layout.springs import Alignment
from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts

SETTINGS = UmapSettings(num_neighbors=10, min_dist=0.1, engine="parallel", num_epochs=100)
HELD = Alignment(regularisation=0.1, window_size=3)


def three_layers(num_images=300):
    """Activations of three layers for the same images: six groups, with random weights per layer."""
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(6, 8)), num_images // 6, axis=0)
    images = groups + 0.4 * rng.normal(size=groups.shape)
    return [np.maximum(images @ rng.normal(size=(8, 20)), 0).astype(np.float32) for _ in range(3)]


def layer(rows, ids=None):
    ids = np.arange(len(rows)) if ids is None else ids
    return AlignedLayer(activations=[rows], neighbors=neighbors([rows], len(rows), 10), ids=ids)


def laid_out(layers, alignment=HELD, seed=0):
    (layouts,) = aligned_layouts(layers, SETTINGS, alignment, [seed])
    return layouts


def apart(layouts):
    """Median distance between an image's places in neighbouring layers, in units of the layouts' spread."""
    spread = np.concatenate(layouts).std()
    distances = [np.linalg.norm(one - other, axis=1) for one, other in pairwise(layouts)]
    return np.median(distances) / spread


def turned_together(layouts):
    """Rotate and reflect each layout onto the one before it as closely as possible."""
    turned = [layouts[0] - layouts[0].mean(axis=0)]
    for layout in layouts[1:]:
        centred = layout - layout.mean(axis=0)
        u, _, v = np.linalg.svd(centred.T @ turned[-1])
        turned.append(centred @ (u @ v))
    return turned


def test_the_same_images_lie_nearer_than_in_layouts_of_their_own():
    rows = three_layers()
    alone = [umap_layouts([one], neighbors([one], len(one), 10), SETTINGS, [0])[0] for one in rows]
    layers = [layer(one) for one in rows]
    together, free = laid_out(layers), laid_out(layers, Alignment(regularisation=0, window_size=3))
    assert apart(together) < 0.7 * apart(turned_together(alone))
    assert apart(together) < 0.7 * apart(free)
    strongly = laid_out(layers, Alignment(regularisation=10, window_size=3))
    assert apart(strongly) < 0.5 * apart(together)


def test_groups_stay_groups_in_every_layer():
    for layout in laid_out([layer(one) for one in three_layers()]):
        centres = layout.reshape(6, -1, 2).mean(axis=1)
        nearest = np.linalg.norm(layout[:, None] - centres, axis=2).argmin(axis=1)
        assert (nearest == np.repeat(np.arange(6), 50)).mean() > 0.85


def test_the_same_bits_whatever_the_threads_and_others_with_another_seed():
    layers = [layer(one) for one in three_layers()]
    before = numba.get_num_threads()
    layouts = []
    for num_threads in (1, before):
        numba.set_num_threads(num_threads)
        layouts.append(np.stack(laid_out(layers)))
    numba.set_num_threads(before)
    assert np.array_equal(*layouts)
    assert not np.array_equal(layouts[0], np.stack(laid_out(layers, seed=1)))


def test_images_are_known_by_their_ids_whatever_their_order():
    rows = three_layers()
    order = np.random.default_rng(1).permutation(300)
    ids = np.arange(300) + 7
    first, second, third = laid_out(
        [layer(rows[0], ids), layer(rows[1][order], ids[order]), layer(rows[2], ids)]
    )
    in_order = np.empty_like(second)
    in_order[order] = second
    as_they_stand = apart(laid_out([layer(one) for one in rows]))
    assert apart([first, in_order, third]) < 1.3 * as_they_stand
    assert apart([first, second, third]) > 3 * as_they_stand


def test_images_that_a_layer_lacks_do_not_disturb_the_others():
    rows = three_layers()
    kept = np.flatnonzero(np.arange(300) % 5 != 0)
    first, second, third = laid_out([layer(rows[0]), layer(rows[1][kept], kept), layer(rows[2])])
    assert len(second) == 240
    assert np.isfinite(np.concatenate([first, second, third])).all()
    assert apart([first[kept], second, third[kept]]) < 1.3 * apart(laid_out([layer(one) for one in rows]))


def test_what_cannot_be_aligned_is_refused():
    rows = three_layers(60)[:2]
    with pytest.raises(ValueError, match="no image is in all layers"):
        laid_out([layer(rows[0]), layer(rows[1], np.arange(60) + 60)])
    with pytest.raises(ValueError, match="layer 1: every one of its activations needs an id of its own"):
        laid_out([layer(rows[0]), layer(rows[1], np.zeros(60, np.int64))])


def test_equal_activations_move_as_one_and_the_others_stay_aligned():
    """A third of the images share one activation in the second layer, and in no other layer."""
    rows = three_layers()
    white = np.arange(300) % 3 == 0
    rows[1][white] = rows[1][0]
    first, second, third = laid_out([layer(one) for one in rows])
    assert not np.ptp(second[white], axis=0).any()
    assert len(np.unique(first[white], axis=0)) == len(np.unique(third[white], axis=0)) == 100
    others = [layout[~white] for layout in (first, second, third)]
    shuffled = [others[0], others[1][np.random.default_rng(0).permutation(200)], others[2]]
    assert apart(others) < 0.5 * apart(shuffled)


@pytest.mark.parametrize("num_images", [1, 2, 3, 5])
def test_few_images(num_images):
    for layout in laid_out([layer(one[:num_images]) for one in three_layers()]):
        assert layout.shape == (num_images, 2)
        assert np.isfinite(layout).all()


def test_activations_all_the_same():
    assert np.isfinite(laid_out([layer(np.ones((30, 4), np.float32))] * 2)).all()


def test_the_starts_noise_sets_apart_and_no_more():
    """A common start can be tiny, here with a std of 1e-3; the noise stays small relative to it."""
    start = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32) * 1e-3
    one, other = (_noisy_starts([start], seed)[0] for seed in (0, 1))
    assert np.ptp(one, axis=0) == pytest.approx([10, 10])
    assert 0 < np.abs(one - other).max() < 2e-3
