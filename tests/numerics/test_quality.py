import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness

from atlas_pipeline.numerics import near_rows
from atlas_pipeline.numerics.quality import layout_quality, seed_agreement


def noisy_plane(num_rows=300, noise=0.3):
    """Vectors near a plane in 6 dimensions, and a layout that keeps most of the plane."""
    rng = np.random.default_rng(0)
    xy = rng.random((num_rows, 2))
    vectors = np.column_stack([xy, np.ones(num_rows), rng.normal(size=(num_rows, 3)) * noise])
    return vectors.astype(np.float32), (xy + rng.normal(size=xy.shape) * 0.05).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equals_scikit_learn_where_every_row_is_measured(metric):
    vectors, layout = noisy_plane()
    quality = layout_quality([vectors], layout, seed=0, metric=metric)
    assert quality["num_sampled"] == 300
    assert quality["num_neighbors"] == 15
    expected = trustworthiness(vectors, layout, n_neighbors=15, metric=metric)
    assert quality["trustworthiness"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_recall_and_rank_correlation_equal_naive_ones(metric):
    vectors, layout = noisy_plane(120)
    if metric == "cosine":
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        true = 1 - unit @ unit.T
    else:
        true = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    shown = np.linalg.norm(layout[:, None] - layout[None], axis=2)
    shared = 0
    for i in range(120):
        near = [set([j for j in np.argsort(d[i], kind="stable") if j != i][:15]) for d in (true, shown)]
        shared += len(near[0] & near[1])
    quality = layout_quality([vectors], layout, seed=0, metric=metric)
    assert quality["neighbor_recall"] == pytest.approx(shared / (120 * 15))
    upper = np.triu_indices(120, 1)
    assert quality["rank_correlation"] == pytest.approx(spearmanr(true[upper], shown[upper])[0], abs=0.01)


def test_equal_distances_share_their_rank():
    rng = np.random.default_rng(0)
    true, shown = rng.choice([0.0, 1.0, 5.0], (2, 200), p=[0.6, 0.3, 0.1]).astype(np.float32)
    vectors, layout = np.column_stack([true, true * 0]), np.column_stack([true + shown, shown * 0])
    quality = layout_quality([vectors], layout, seed=0, metric="euclidean")
    upper = np.triu_indices(200, 1)
    distances = [np.abs(a[upper[0], 0] - a[upper[1], 0]) for a in (vectors, layout)]
    assert quality["rank_correlation"] == pytest.approx(spearmanr(*distances)[0], abs=0.005)


def test_a_perfect_layout_and_a_random_one():
    vectors = np.random.default_rng(0).random((400, 2)).astype(np.float32)
    perfect = layout_quality([vectors], vectors, seed=0, metric="euclidean")
    assert perfect["neighbor_recall"] > 0.99
    assert perfect["trustworthiness"] > 0.999
    assert perfect["rank_correlation"] > 0.999
    random = layout_quality([vectors], np.random.default_rng(1).random((400, 2)), seed=0)
    assert random["neighbor_recall"] < 0.08
    assert random["trustworthiness"] == pytest.approx(0.5, abs=0.05)
    assert abs(random["rank_correlation"]) < 0.05


def test_a_sample_is_near_the_whole_and_seeded():
    vectors, layout = noisy_plane(1500)
    whole = layout_quality([vectors], layout, seed=0)
    some = layout_quality([vectors], layout, seed=0, num_sampled=300)
    assert some["neighbor_recall"] == pytest.approx(whole["neighbor_recall"], abs=0.03)
    assert some["trustworthiness"] == pytest.approx(whole["trustworthiness"], abs=0.03)
    assert some == layout_quality([vectors], layout, seed=0, num_sampled=300)
    assert some != layout_quality([vectors], layout, seed=1, num_sampled=300)


def test_tight_clumps_far_from_the_origin_keep_their_neighbours():
    """float32 squares and products cannot resolve distances of 1e-4 near (1, 1)."""
    rng = np.random.default_rng(0)
    layout = (1 - rng.random((500, 2)) * 1e-3).astype(np.float32)
    quality = layout_quality([layout - layout.mean(axis=0)], layout, seed=0, metric="euclidean")
    assert quality["neighbor_recall"] > 0.98


@pytest.mark.parametrize("num_rows", [0, 1, 2])
def test_too_few_rows_are_not_measured(num_rows):
    quality = layout_quality([np.ones((num_rows, 3), np.float32)], np.zeros((num_rows, 2)), seed=0)
    assert quality["trustworthiness"] is None
    assert quality["neighbor_recall"] is None


def test_three_rows_and_rows_all_the_same():
    vectors, layout = noisy_plane(3)
    assert layout_quality([vectors], layout, seed=0)["num_neighbors"] == 1
    same = layout_quality([np.ones((50, 3), np.float32)], np.zeros((50, 2), np.float32), seed=0)
    assert same["rank_correlation"] is None
    assert same["trustworthiness"] == 1


@pytest.mark.parametrize("at_once", [4096, 64])
def test_blocks_do_not_change_the_figures(at_once, monkeypatch):
    vectors, layout = noisy_plane()
    monkeypatch.setattr(near_rows, "_ROWS_AT_ONCE", at_once)
    blocks = [vectors[:1], vectors[1:130], vectors[130:]]
    for metric in ("cosine", "euclidean"):
        whole = layout_quality([vectors], layout, seed=0, metric=metric)
        assert layout_quality(blocks, layout, seed=0, metric=metric) == pytest.approx(whole, abs=1e-6)


def test_copies_in_a_layout_are_neighbours_of_each_other():
    layout = np.concatenate([np.zeros((40, 2)), np.ones((40, 2))])
    near = near_rows.nearest_in_layout(layout, np.array([0, 39, 40, 79]), 15)
    assert (near[:2] < 40).all()
    assert (near[2:] >= 40).all()
    assert all(row not in found for row, found in zip([0, 39, 40, 79], near.tolist(), strict=True))
    assert all(len(set(found)) == 15 for found in near.tolist())


def test_layouts_that_lie_differently_agree_and_unlike_ones_do_not():
    rng = np.random.default_rng(0)
    layout = rng.random((400, 2))
    turned = layout @ np.array([[0, -3], [3, 0]]) + 5
    assert seed_agreement(layout, turned, seed=0) == pytest.approx(
        {"seed_agreement": 1, "seed_rank_correlation": 1}
    )
    unlike = seed_agreement(layout, rng.random((400, 2)), seed=0)
    # Unrelated layouts agree on 15 of 399 neighbours by chance.
    assert unlike["seed_agreement"] == pytest.approx(15 / 399, abs=0.01)
    assert unlike["seed_rank_correlation"] == pytest.approx(0, abs=0.05)
    assert seed_agreement(layout[:2], turned[:2], seed=0)["seed_agreement"] is None
