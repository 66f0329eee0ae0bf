import numpy as np
import pytest

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.numerics.mosaic import (
    drawn_sides,
    icon_px_within,
    icon_sides,
    mosaic,
    mosaic_band,
    resized,
)


def plain_icons(num_cells, side, seed=0):
    """Icons of one colour each, none of them white."""
    colours = np.random.default_rng(seed).integers(0, 200, (num_cells, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (num_cells, side, side, 3)).copy()


def test_full_scale_equals_a_naive_loop_bit_by_bit():
    rng = np.random.default_rng(1)
    icons = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    rows, cols = [0, 2, 3], [1, 0, 3]
    wanted = np.full((32, 32, 3), 255, np.uint8)
    for icon, row, col in zip(icons, rows, cols, strict=True):
        for y in range(8):
            for x in range(8):
                wanted[row * 8 + y, col * 8 + x] = icon[y, x]
    made = mosaic(icons, rows, cols, [5, 50, 500], grid_size=4, icon_px=8, scale="full")
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, wanted)


def test_a_point_at_the_top_left_of_the_layout_has_its_icon_at_the_top_left():
    icons = plain_icons(1, 4)
    row, col = cell_of(np.array([[0.05, 0.95]]), 3).T
    made = mosaic(icons, row, col, [1], grid_size=3, icon_px=4, scale="full")
    assert (made[:4, :4] == icons[0, 0, 0]).all()
    assert (made[4:] == 255).all()
    assert (made[:, 4:] == 255).all()


def test_the_area_of_an_icon_is_proportional_to_its_count_until_the_cell_is_full():
    counts = np.array([16, 32, 50, 100, 100, 100, 100, 900])  # half the median is 50
    sides = icon_sides(counts, icon_px=200)
    np.testing.assert_allclose(sides[:2] ** 2 / 200**2, counts[:2] / 50, rtol=0.02)
    assert (sides[2:] == 200).all()


def test_sides_grow_with_the_counts_and_keep_the_parity_of_the_cell():
    counts = np.random.default_rng(0).geometric(0.02, 500)
    for icon_px in (16, 33, 80):
        sides = icon_sides(counts, icon_px)
        assert (np.diff(sides[np.argsort(counts)]) >= 0).all()
        assert ((icon_px - sides) % 2 == 0).all()
        assert sides.min() >= icon_px // 4 - 1


def test_one_crowded_cell_does_not_shrink_the_others():
    assert (icon_sides([20] * 30 + [10_000], 80) == 80).all()


def test_no_hairline_gaps():
    sides = icon_sides(np.arange(1, 200), icon_px=80)
    assert not ((sides > 72) & (sides < 80)).any()


def test_a_thin_cell_is_centred_on_background():
    made = mosaic(plain_icons(4, 20), [0, 0, 1, 1], [0, 1, 0, 1], [1, 100, 100, 100], grid_size=2, icon_px=20)
    inked = (made[:20, :20] != 255).any(axis=-1)
    rows, cols = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    assert rows[0] == 19 - rows[-1] > 0
    assert cols[0] == 19 - cols[-1] > 0
    assert (made[20:] != 255).all()


def test_shrinking_averages_rather_than_picks_pixels():
    checks = np.zeros((32, 32, 3), np.uint8)
    checks[::2, 1::2] = checks[1::2, ::2] = 255
    assert np.abs(resized(checks, 8).astype(int) - 127).max() <= 16


def test_the_background_is_as_asked():
    made = mosaic(plain_icons(1, 4), [1], [1], [3], grid_size=2, icon_px=4, background=17)
    assert (made[:4] == 17).all()


def test_no_icons_give_an_empty_picture():
    made = mosaic(np.zeros((0, 8, 8, 3), np.uint8), [], [], [], grid_size=2, icon_px=8)
    assert made.shape == (16, 16, 3)
    assert (made == 255).all()


@pytest.mark.parametrize(
    ("rows", "cols", "counts", "words"),
    [
        ([0, 0], [1, 1], [1, 1], "given twice"),
        ([0, 2], [0, 0], [1, 1], "outside the grid"),
        ([0, -1], [0, 0], [1, 1], "outside the grid"),
        ([0], [0], [1], "each cell has one of each"),
        ([0, 1], [0, 0], [1, 0], "counts start at 1"),
    ],
)
def test_cells_that_cannot_be_are_refused(rows, cols, counts, words):
    with pytest.raises(ValueError, match=words):
        mosaic(plain_icons(2, 4), rows, cols, counts, grid_size=2, icon_px=4)


def test_icons_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="shape"):
        mosaic(np.zeros((1, 4, 5, 3), np.uint8), [0], [0], [1], grid_size=2, icon_px=4)


def test_a_picture_too_large_to_open_gets_smaller_icons():
    assert icon_px_within(20, 80) == 80
    assert icon_px_within(320, 96) == 96
    assert icon_px_within(320, 128) == 96
    assert icon_px_within(320, 96, 4000) == 12
    assert icon_px_within(50_000, 80) == 1


@pytest.mark.parametrize("scale", ["density", "full"])
def test_bands_of_the_grid_put_together_are_the_picture(scale):
    rng = np.random.default_rng(2)
    rows, cols = np.divmod(np.flatnonzero(rng.random(36) < 0.6), 6)
    icons = rng.integers(0, 256, (len(rows), 12, 12, 3), dtype=np.uint8)
    counts = rng.integers(1, 50, len(rows))
    sides = drawn_sides(counts, 10, scale)
    bands = []
    for grid_rows in (range(1), range(1, 4), range(4, 6)):
        here = (rows >= grid_rows.start) & (rows < grid_rows.stop)
        # Use the integer type in which places are stored.
        places = rows[here].astype(np.int16), cols[here].astype(np.int16)
        bands.append(mosaic_band(icons[here], *places, sides[here], 6, 10, grid_rows))
    whole = mosaic(icons, rows, cols, counts, grid_size=6, icon_px=10, scale=scale)
    np.testing.assert_array_equal(np.concatenate(bands), whole)


def test_a_wide_picture_is_not_folded_by_small_integers():
    places = np.array([0], np.int16), np.array([400], np.int16)
    band = mosaic_band(plain_icons(1, 90), *places, np.array([90]), 401, 90, range(1))
    assert (band[:, 400 * 90 :] != 255).all()
    assert (band[:, : 400 * 90] == 255).all()
