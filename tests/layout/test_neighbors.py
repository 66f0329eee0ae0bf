import numpy as np
import pytest

from atlas_pipeline.layout import exact_search, search
from atlas_pipeline.layout import neighbors as module
from atlas_pipeline.layout.neighbors import neighbors


def in_rows(found):
    """Indices and distances (activation, neighbour) by row; a vertex is named by its first row."""
    of_vertices = found.same.rows[found.indices], found.distances
    return tuple(part[found.same.vertex] for part in of_vertices)


def exact_neighbors(rows, k, metric="cosine", **how):
    return in_rows(neighbors([rows], len(rows), k, metric=metric, method="exact", **how))


def approximate_neighbors(rows, k, metric="cosine", **how):
    return in_rows(neighbors([rows], len(rows), k, metric=metric, method="approximate", **how))


def naive(activations, k, metric):
    """Neighbours in float64, row by row: the row itself, then others by distance. Rows must be distinct."""
    rows = activations.astype(np.float64)
    indices, distances = [], []
    for i, row in enumerate(rows):
        if metric == "euclidean":
            distance = np.sqrt(((rows - row) ** 2).sum(axis=1))
        else:
            norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(row)
            both_zero = (np.linalg.norm(rows, axis=1) == 0) & (np.linalg.norm(row) == 0)
            distance = 1 - rows @ row / np.where(norms > 0, norms, 1)
            distance[both_zero] = 0
        distance[i] = 0
        others = sorted((round(d, 9), j) for j, d in enumerate(distance.tolist()) if j != i)
        order = [i, *(j for _, j in others)][:k]
        indices.append(order)
        distances.append(distance[order])
    return np.array(indices), np.array(distances)


def activations(num_rows, num_channels=8, seed=0):
    return np.maximum(np.random.default_rng(seed).normal(size=(num_rows, num_channels)), 0).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("tile", [1 << 23, 5000])
def test_exact_equals_the_naive_loop(metric, tile, monkeypatch):
    monkeypatch.setattr(exact_search, "_TILE_CPU", tile)
    rows = activations(300, 16)
    indices, distances = exact_neighbors(rows, 12, metric)
    expected = naive(rows, 12, metric)
    assert np.array_equal(indices, expected[0])
    assert distances == pytest.approx(expected[1], abs=1e-6)
    assert distances.dtype == np.float32
    assert (distances[:, 0] == 0).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_copies_and_zeros_are_one_neighbour_each(metric):
    """With more copies than neighbours and candidates, the vectors beyond the copies are still found."""
    once = np.concatenate([activations(40), np.zeros((1, 8)), np.ones((1, 8))]).astype(np.float32)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(42), [2] * 40 + [45, 60]))
    found = neighbors([once[order]], len(order), 6, metric=metric, method="exact")
    number = order[found.same.rows]
    assert sorted(number) == list(range(42))
    assert np.array_equal(number[found.same.vertex], order)
    assert found.same.largest_group == 60
    expected = naive(once, 6, metric)
    assert found.distances == pytest.approx(expected[1][number], abs=1e-6)
    # Equally distant neighbours may come in any order; every row is equally far from zeros.
    tied = np.isclose(np.diff(expected[1], axis=1), 0, atol=1e-6).any(axis=1)[number]
    tied |= number == 40
    assert np.array_equal(number[found.indices][~tied], expected[0][number][~tied])
    assert (number[found.indices[:, 0]] == number).all()


def test_zeros_are_at_right_angles_to_the_rest():
    rows = np.eye(5, dtype=np.float32)
    rows[[1, 3]] = 0
    indices, distances = exact_neighbors(rows, 5)
    assert indices.shape == (5, 4)
    assert indices[:, 0].tolist() == [0, 1, 2, 1, 4]
    assert (distances == [0, 1, 1, 1]).all()


def test_small_distances_are_not_lost():
    """1 - cosine in float32 cannot resolve distances below 1e-7."""
    angle = np.array([0, 1e-4, 3e-4, 1e-3])
    rows = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    _, distances = exact_neighbors(rows, 4)
    assert distances[0] == pytest.approx(1 - np.cos(angle), rel=0.01)


def test_activations_far_from_the_origin_keep_their_euclidean_neighbours():
    rows = activations(200) * 0.01
    near = exact_neighbors(rows, 5, "euclidean")[0]
    far = exact_neighbors(rows + np.float32(64), 5, "euclidean")[0]
    assert (near == far).mean() > 0.98


def test_a_few_long_activations_do_not_blur_the_distances_of_the_others():
    """Rounding is a share of the vectors that are compared, not of the longest one."""
    rows = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    long = 3e4 * rows[:4]
    rows = np.concatenate([rows - rows.mean(axis=0), long, -long])
    found = exact_neighbors(rows, 6, "euclidean")[0]
    assert np.array_equal(found[:300], naive(rows, 6, "euclidean")[0][:300])


@pytest.mark.parametrize("num_rows", [0, 1, 2, 5])
def test_fewer_rows_than_neighbours(num_rows):
    indices, distances = exact_neighbors(activations(num_rows), 20)
    assert indices.shape == distances.shape == (num_rows, num_rows)
    assert all(sorted(row) == list(range(num_rows)) for row in indices.tolist())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_all_rows_the_same(metric):
    indices, distances = exact_neighbors(np.full((50, 3), 0.1, np.float32), 3, metric)
    assert indices.tolist() == [[0]] * 50
    assert not distances.any()


def test_equally_distant_neighbours_are_drawn_by_the_seed():
    """All unit vectors are equally far apart; the choice of five must not depend on the row order."""
    taken = [np.bincount(exact_neighbors(np.eye(40), 6, seed=seed)[0][:, 1:].ravel()) for seed in (0, 1)]
    assert len(set(np.argsort(-taken[0])[:6].tolist()) & set(range(6))) < 5
    assert not np.array_equal(*taken)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("num_fitted", [None, 60])
def test_the_order_of_the_rows_changes_no_bit(metric, num_fitted):
    rows = np.concatenate([activations(90, 16), np.repeat(activations(6, 16, seed=1), 5, axis=0)])
    fitted = None if num_fitted is None else np.arange(num_fitted)
    order = np.random.default_rng(3).permutation(120)
    shuffled = None if fitted is None else np.sort(np.argsort(order)[fitted])
    blocks = [rows[order][:7], rows[order][7:50], rows[order][50:]]
    one = neighbors([rows], 120, 8, fitted=fitted, metric=metric)
    other = neighbors(blocks, 120, 8, fitted=shuffled, metric=metric)
    assert np.array_equal(one.same.vertex[order], other.same.vertex)
    assert np.array_equal(one.indices, other.indices)
    assert np.array_equal(one.distances, other.distances)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    rows = activations(10)
    rows[4, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        exact_neighbors(rows, 3)


def test_progress_adds_up_and_float16_is_read():
    rows = activations(3000).astype(np.float16)
    told = []
    exact_neighbors(rows, 3, advance=told.append)
    assert sum(told) == 3000
    assert len(told) > 1


def test_the_number_of_comparisons_alone_chooses_the_method(monkeypatch):
    descended = []

    def descend(self, k, seed):
        descended.append(len(self.vectors))
        return np.tile(np.arange(len(self.vectors), dtype=np.int32), (len(self.vectors), 1))

    monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    monkeypatch.setattr(search.VectorSearch, "descend", descend)
    neighbors([activations(10)], 10, 3)
    neighbors([activations(11)], 11, 3, method="exact")
    neighbors([activations(20)], 20, 3, fitted=np.arange(0, 20, 4))
    assert descended == []
    neighbors([activations(11)], 11, 3)
    neighbors([activations(10)], 10, 3, method="approximate")
    assert descended == [11, 10]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_among_the_fitted_equal_the_naive_loop(metric):
    """Blocks of any size; zero rows are among the queries but not among the fitted rows."""
    rows = np.concatenate([activations(150, 16), np.zeros((3, 16), np.float32)])
    fitted = np.sort(np.random.default_rng(2).choice(150, 60, replace=False))
    told = []
    blocks = [rows[:7], rows[7:100], rows[100:]]
    indices, distances = in_rows(
        neighbors(blocks, 153, 9, fitted=fitted, metric=metric, method="exact", advance=told.append)
    )
    assert sum(told) == 153
    assert np.array_equal(indices[fitted], fitted[exact_neighbors(rows[fitted], 9, metric)[0]])
    for row in np.setdiff1d(np.arange(153), fitted):
        order, away = naive(np.concatenate([rows[row, None], rows[fitted]]), 10, metric)
        assert distances[row] == pytest.approx(away[0, 1:], abs=1e-6)
        if row < 150:
            assert (indices[row] == fitted[order[0, 1:] - 1]).all()


@pytest.mark.extended
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_approximate_finds_nearly_all(metric):
    rows = np.concatenate([activations(1500, 16), np.zeros((20, 16), np.float32)])
    exact, true_distances = exact_neighbors(rows, 10, metric)
    found, distances = approximate_neighbors(rows, 10, metric, seed=3)
    again, _ = approximate_neighbors(rows, 10, metric, seed=3)
    assert np.array_equal(found, again)
    assert (found[:1500, 0] == np.arange(1500)).all()
    assert (found[1500:, 0] == 1500).all()
    # Zero rows are left out: every row is equally far from them.
    pairs = zip(exact[:1500].tolist(), found[:1500].tolist(), strict=True)
    assert np.mean([len(set(a) & set(b)) for a, b in pairs]) > 9.95
    assert (distances >= true_distances - 1e-6).all()


@pytest.mark.extended
def test_approximate_among_the_fitted_finds_nearly_all():
    rows = activations(1200, 16)
    fitted = np.arange(0, 1200, 2)
    how = {"fitted": fitted, "seed": 3}
    exact, _ = exact_neighbors(rows, 10, **how)
    found, distances = approximate_neighbors(rows, 10, **how)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]) > 9.9
    assert (np.diff(distances, axis=1) >= 0).all()


@pytest.mark.extended
def test_approximate_with_fewer_rows_than_neighbours():
    indices, _ = approximate_neighbors(activations(5), 20)
    assert all(sorted(row) == list(range(5)) for row in indices.tolist())
