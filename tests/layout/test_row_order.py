"""Rows are sorted by class folder; a layout must not show that order unless the activations do."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from atlas_pipeline.layout.aligned_umap import AlignedLayer, aligned_layouts
from atlas_pipeline.layout.distinct import Distinct, canonical_vectors, distinct, separate_equal
from atlas_pipeline.layout.neighbors import neighbors
from atlas_pipeline.layout.springs import Alignment
from atlas_pipeline.layout.tsne_layout import tsne_layout
from atlas_pipeline.layout.umap_layout import UmapSettings, umap_layouts
from atlas_pipeline.numerics.grid import cell_of, flat_cell
from atlas_pipeline.numerics.normalise import normalise_layout
from scripts.measurements.purity import purity, purity_by_chance

NUM_ROWS, NUM_FOLDERS, GRID_SIZE, NUM_NEAREST = 240, 4, 5, 10
FOLDER = np.repeat(np.arange(NUM_FOLDERS), NUM_ROWS // NUM_FOLDERS)


def inputs():
    """Map each name to activations that are independent of the row order."""
    rng = np.random.default_rng(0)
    constant, distinct_rows = rng.random(32), rng.random((NUM_ROWS, 32))
    half = rng.random(NUM_ROWS) < 0.5
    rows = {
        "all equal": np.tile(constant, (NUM_ROWS, 1)),
        "half equal": np.where(half[:, None], constant, distinct_rows),
        "half zero": np.where(half[:, None], 0, distinct_rows),
        "groups of 8": distinct_rows[rng.permutation(NUM_ROWS) % 30],
        "distinct": distinct_rows,
        "equal but for noise": constant + 1e-6 * distinct_rows,
    }
    return {name: each.astype(np.float32) for name, each in rows.items()}


INPUTS = inputs()


def by_umap(rows, engine="cpu", fitted=None, num_epochs=60):
    settings = UmapSettings(num_neighbors=15, min_dist=0.01, engine=engine, num_epochs=num_epochs)
    blocks = [rows[:50], rows[50:]]
    near = neighbors(blocks, len(rows), 15, fitted=fitted)
    return umap_layouts(blocks, near, settings, [0])[0]


def by_tsne(rows):
    return tsne_layout(rows, "cosine", seed=0)


def aligned(rows):
    """Lay out two layers together and return the second; the first has no equal activations."""
    settings = UmapSettings(num_neighbors=15, min_dist=0.01, num_epochs=60)
    layers = [
        AlignedLayer(activations=[each], neighbors=neighbors([each], len(each), 15), ids=np.arange(len(each)))
        for each in (np.random.default_rng(7).random((len(rows), 8)).astype(np.float32), rows)
    ]
    alignment = Alignment(regularisation=0.1, window_size=1)
    (layouts,) = aligned_layouts(layers, settings, alignment, [0])
    return separate_equal(layouts[1], distinct([np.arange(1.0, len(rows) + 1)[:, None]], "euclidean", 0), 0)


LAYOUTS = {
    "cpu": by_umap,
    "parallel": lambda rows: by_umap(rows, "parallel"),
    "gpu": lambda rows: by_umap(rows, "gpu", num_epochs=10),
    "fitted on a part": lambda rows: by_umap(rows, fitted=np.arange(0, NUM_ROWS, 3)),
    "tsne": by_tsne,
    "aligned": aligned,
}


def share_of_own_folder(layout):
    """A function of the folder labels: the share of nearest neighbours in the layout from the same folder."""
    near = cKDTree(layout).query(layout, NUM_NEAREST + 1)[1][:, 1:]
    return lambda labels: float((labels[near] == labels[:, None]).mean())


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_folders_are_as_mixed_as_chance(name, kind):
    """Within four standard deviations of 100 shuffled folders; by chance a layout fails 1 time in 16,000."""
    layout = LAYOUTS[name](INPUTS[kind])
    rng = np.random.default_rng(1)
    cells = flat_cell(cell_of(normalise_layout(layout), GRID_SIZE), GRID_SIZE)
    chance, deviation = purity_by_chance(cells, FOLDER, rng, 100)
    assert abs(purity(cells, FOLDER) - chance) <= 4 * deviation + 1e-9
    share = share_of_own_folder(layout)
    shares = [share(rng.permutation(FOLDER)) for _ in range(100)]
    assert abs(share(FOLDER) - np.mean(shares)) <= 4 * np.std(shares) + 1e-9


@pytest.mark.parametrize("kind", ["half equal", "equal but for noise"])
@pytest.mark.parametrize("name", ["cpu", "parallel", "gpu", "tsne"])
def test_the_rows_in_another_order_lie_where_they_lay(name, kind):
    """Bit-equal, except for the tiny offsets that separate equal activations."""
    rows, lay_out = INPUTS[kind], LAYOUTS[name]
    order = np.random.default_rng(3).permutation(NUM_ROWS)
    layout, shuffled = lay_out(rows), lay_out(rows[order])
    vertex = distinct([rows], "cosine", 0).vertex[order]
    alone = np.bincount(vertex)[vertex] == 1
    assert np.array_equal(shuffled[alone], layout[order][alone])
    hair = 2e-5 * max(np.ptp(layout, axis=0).max(), 1)
    assert np.abs(shuffled - layout[order]).max() <= hair


def test_another_seed_draws_another_order():
    rows = INPUTS["distinct"]
    assert not np.array_equal(*(distinct([rows], "cosine", seed).rows for seed in (0, 1)))


@pytest.mark.parametrize(
    ("one", "other", "metric", "are_equal"),
    [
        ([0.0, 1, 2], [-0.0, 1, 2], "euclidean", True),
        ([1.5, 1, 2], [3, 2, 4], "cosine", True),
        ([1.5, 1, 2], [4.5, 3, 6], "cosine", True),
        ([1.5, 1, 2], [-1.5, -1, -2], "cosine", False),
        ([1.5, 1, 2], [3, 2, 4], "euclidean", False),
        ([0.0, 0, 0], [-0.0, 0, 0], "cosine", True),
        ([0.0, 0, 0], [1e-7, 0, 0], "cosine", False),
        # The smallest subnormal float16 and twice that value.
        ([2.0**-24, 2.0**-23, 0], [2.0**-23, 2.0**-22, 0], "cosine", True),
        ([1e-38, 1e-38, 0], [1e-38, 1.1e-38, 0], "euclidean", False),
    ],
)
def test_equal_is_what_the_metric_cannot_tell_apart(one, other, metric, are_equal):
    rows = np.array([one, other], np.float32)
    vertex = distinct([rows[:1], rows[1:]], metric, 0).vertex
    assert (vertex[0] == vertex[1]) == are_equal
    assert np.array_equal(*canonical_vectors(rows, metric)) == are_equal


def test_parts_of_other_precision_are_compared_by_value():
    rows = np.array([[0.5, 1, 2], [3, 1, 4]], np.float32)
    same = distinct([rows.astype(np.float16), rows], "euclidean", 0)
    assert same.vertex.tolist() == [*same.vertex[:2].tolist()] * 2
    assert same.largest_group == 2


@pytest.mark.parametrize("num_distinct", [1, 2, 3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_fewer_distinct_activations_than_a_layout_needs(name, num_distinct):
    rows = INPUTS["distinct"][np.arange(NUM_ROWS) % num_distinct]
    layout = LAYOUTS[name](rows)
    assert layout.shape == (NUM_ROWS, 2)
    assert np.isfinite(layout).all()


def test_an_activation_equal_to_a_fitted_one_lies_with_it():
    rows = np.concatenate([INPUTS["distinct"][:60]] * 2)
    layout = by_umap(rows, fitted=np.arange(60))
    assert np.abs(layout[:60] - layout[60:]).max() <= 1e-5 * np.ptp(layout, axis=0).max() * 1.01


def test_equals_do_not_move_the_others():
    """Half of the rows are one activation; the other rows lie as if it occurred once."""
    once = INPUTS["distinct"][:120]
    many = np.concatenate([once, np.repeat(once[:1], 120, axis=0)])
    assert np.array_equal(by_umap(many)[1:120], by_umap(once)[1:])


def test_equals_stay_in_the_square_and_in_one_cell():
    vertex = np.repeat(np.arange(5, dtype=np.int32), 50)
    same = Distinct(vertex=vertex, rows=np.arange(0, 250, 50), num_fitted=5)
    places = np.array([[0, 0], [1, 1], [0.5, 0.5], [0.05, 1], [1, 0.25]], np.float32)
    layout = separate_equal(places, same, 0)
    assert (layout >= 0).all()
    assert (layout <= 1).all()
    assert np.abs(layout - places[vertex]).max() <= 1e-5
    assert len(np.unique(layout, axis=0)) > 200
    for size in (1, 2, 4, 20):
        cells = cell_of(layout, size).reshape(5, 50, 2)
        assert (cells == cells[:, :1]).all()
    alone = separate_equal(np.full((1, 2), 0.5, np.float32), distinct([np.ones((9, 2))], "cosine", 0), 0)
    assert len(np.unique(cell_of(alone, 20), axis=0)) == 1
