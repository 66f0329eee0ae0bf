import numpy as np
import pytest

from atlas_pipeline.numerics.positions import effective_edge, relative_positions, spatial_positions


def test_a_position_depends_on_seed_and_image_alone():
    ids = np.array([7, 3, 123_456_789_012, 0])
    together = relative_positions(5, ids, 3)
    assert together.shape == (4, 3, 2)
    assert together.dtype == np.float64
    alone = np.concatenate([relative_positions(5, ids[i : i + 1], 3) for i in range(4)])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[::-1], relative_positions(5, ids[::-1], 3))
    assert np.array_equal(together[:, :1], relative_positions(5, ids, 1))


def splitmix64(state):
    """One step in Python integers; state 0 gives 0xE220A8397B1DCDAF, as published."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_values_never_change():
    """All cached samples depend on these values."""
    assert splitmix64(0) == 0xE220A8397B1DCDAF
    for seed, image in [(0, 0), (0, 1), (42, 999_999), (2**64 - 1, 3)]:
        state = splitmix64(splitmix64(seed) ^ image)
        first = [(splitmix64((state + axis * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for axis in range(2)]
        second = [(first[0] + 0.7548776662466927) % 1, (first[1] + 0.5698402909980532) % 1]
        assert relative_positions(seed, [image], 2).tolist() == [[first, second]]


@pytest.mark.parametrize("seed", [1, -1, 2**63 + 5])
def test_another_seed_gives_other_positions(seed):
    places = relative_positions(seed, np.arange(100))
    assert (places != relative_positions(0, np.arange(100))).all()


def test_a_seed_is_not_a_shift_of_the_images():
    one, next_one = (relative_positions(seed, np.arange(1000)) for seed in (0, 1))
    assert not set(one[..., 0].ravel()) & set(next_one[..., 0].ravel())


def test_positions_are_uniform_and_rows_independent_of_columns():
    places = relative_positions(0, np.arange(50_000), 2)
    assert places.min() >= 0
    assert places.max() < 1
    for position in range(2):
        by_cell, _, _ = np.histogram2d(*places[:, position].T, bins=10, range=[[0, 1], [0, 1]])
        # For 99 degrees of freedom, 150 is beyond the 99.9th percentile.
        assert ((by_cell - 500) ** 2 / 500).sum() < 150
    assert abs(np.corrcoef(places[1:, 0, 0], places[:-1, 0, 0])[0, 1]) < 0.02


def test_every_inner_position_is_drawn_and_no_border_one():
    places = spatial_positions(relative_positions(0, np.arange(2000)), height=6, width=5, edge=1)
    assert places.dtype == np.int16
    assert set(places[..., 0].ravel().tolist()) == {1, 2, 3, 4}
    assert set(places[..., 1].ravel().tolist()) == {1, 2, 3}


def test_ends_of_the_unit_interval_stay_inside():
    ends = np.array([[[0.0, np.nextafter(1, 0)]], [[np.nextafter(1, 0), 0.0]]])
    for size in range(3, 40):
        inner = spatial_positions(ends, size, size, edge=1)
        assert inner.tolist() == [[[1, size - 2]], [[size - 2, 1]]]


@pytest.mark.parametrize(
    ("height", "width", "edge", "expected"),
    [(14, 14, 1, (1, 1)), (3, 2, 1, (1, 0)), (1, 7, 3, (0, 3)), (4, 4, 2, (0, 0)), (5, 5, 0, (0, 0))],
)
def test_edge_is_dropped_where_it_would_leave_nothing(height, width, edge, expected):
    assert effective_edge(height, width, edge) == expected
    places = spatial_positions(relative_positions(0, np.arange(500)), height, width, edge)
    for axis, (size, left_out) in enumerate(zip((height, width), expected, strict=True)):
        assert set(places[..., axis].ravel().tolist()) == set(range(left_out, size - left_out))


def test_layers_see_the_same_patch():
    relative = relative_positions(0, np.arange(300))
    fine, coarse = (spatial_positions(relative, size, size, edge=0) for size in (28, 7))
    assert np.array_equal(fine // 4, coarse)


def test_positions_of_one_image_keep_apart():
    def share_of_duplicates(relative):
        places = spatial_positions(relative, 14, 14, edge=1)
        flat = places[..., 0] * 14 + places[..., 1]
        return np.mean([len(set(row)) < len(row) for row in flat.tolist()])

    independent = np.random.default_rng(0).random((1000, 8, 2))
    assert share_of_duplicates(independent) > 0.15
    assert share_of_duplicates(relative_positions(0, np.arange(1000), 8)) == 0


def test_no_images():
    assert relative_positions(0, np.zeros(0, np.int64), 2).shape == (0, 2, 2)
