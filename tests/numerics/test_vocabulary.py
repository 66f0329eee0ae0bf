import numpy as np

from atlas_pipeline.numerics.vocabulary import regions


def _grid(totals):
    """A full grid whose cells contribute ``totals``, with counts and attributions that produce them."""
    totals = np.asarray(totals, dtype=float)
    row, col = (axis.ravel() for axis in np.indices(totals.shape))
    counts = np.arange(totals.size) % 7 + 1
    return row, col, counts, totals.ravel() / counts


def test_the_strongest_cell_takes_its_neighbours_then_the_strongest_of_the_rest():
    found = regions(*_grid([[4, 2, 1, 3, 7], [3, 2, 1, 2, -5]]))
    assert found.centre.tolist() == [4, 0, 2]
    assert found.of_cell.tolist() == [1, 1, 2, 0, 0, 1, 1, 2, 0, -1]
    np.testing.assert_allclose(found.share, [12 / 25, 11 / 25, 2 / 25])
    np.testing.assert_allclose(found.cell_share[[0, 4, 9]], [4 / 25, 7 / 25, 0], atol=1e-12)


def test_regions_are_listed_by_their_share_and_not_by_their_strongest_cell():
    found = regions(*_grid([[5, 0, 0, 4, 4]]))
    assert found.centre.tolist() == [3, 0]
    np.testing.assert_allclose(found.share, [8 / 13, 5 / 13])


def test_shares_add_up_and_centres_are_never_neighbours():
    rng = np.random.default_rng(1)
    for _ in range(20):
        kept = rng.random(144) < 0.7
        row, col, counts, attribution = (column[kept] for column in _grid(rng.normal(size=(12, 12))))
        found = regions(row, col, counts, attribution)
        np.testing.assert_allclose([found.share.sum(), found.cell_share.sum()], 1)
        assert (np.diff(found.share) <= 0).all()
        assert ((found.of_cell >= 0) == (attribution > 0)).all()
        for region, centre in enumerate(found.centre):
            members = found.of_cell == region
            away = np.maximum(abs(row - row[centre]), abs(col - col[centre]))
            assert away[members].max() <= 1
            assert away[found.centre[found.centre != centre]].min() > 1
            np.testing.assert_allclose(found.share[region], found.cell_share[members].sum())
            assert found.cell_share[centre] == found.cell_share[members].max()


def test_of_two_equal_cells_the_earlier_is_the_centre():
    found = regions(*_grid([[2, 2, 2, 2]]))
    assert found.centre.tolist() == [0, 2]
    assert found.share.tolist() == [0.5, 0.5]


def test_counts_weigh():
    """Ten activations with small attributions outweigh one with a large attribution."""
    found = regions([0, 0], [0, 2], [10, 1], [0.2, 1.0])
    assert found.centre.tolist() == [0, 1]
    np.testing.assert_allclose(found.share, [2 / 3, 1 / 3])


def test_a_class_that_nothing_speaks_for_has_no_region():
    for attribution in ([-1.0, 0.0], [np.nan, -1.0]):
        found = regions([0, 0], [0, 1], [3, 4], attribution)
        assert len(found.centre) == len(found.share) == 0
        assert found.of_cell.tolist() == [-1, -1]
        assert found.cell_share.tolist() == [0, 0]
