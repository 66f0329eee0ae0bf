import numpy as np
import pytest

from atlas_pipeline.numerics.crop_window import crop_window
from atlas_pipeline.patch_test.placement import corner_windows, noise_like, patch_px, random_cells, strongest


def picture(side=32, seed=0):
    """A picture of coloured blocks, far from black and white, (side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(90, 165, (4, 4, 3))
    return np.rint(coarse.repeat(side // 4, axis=0).repeat(side // 4, axis=1)).astype(np.uint8)


def power(image):
    return np.abs(np.fft.fft2(image.astype(float), axes=(0, 1))) ** 2


def test_the_hardest_pulling_cells_come_first_and_those_that_do_not_pull_never():
    assert strongest([0.1, -2.0, 3.0, 0.0, 3.0], 10).tolist() == [2, 4, 0]
    assert strongest([0.1, -2.0, 3.0, 0.0, 3.0], 2).tolist() == [2, 4]
    assert strongest([-1.0, 0.0], 2).tolist() == []


def test_random_cells_are_a_set_and_more_of_them_begin_with_the_fewer():
    drawn = random_cells(100, 20, seed=3)
    assert len(set(drawn.tolist())) == 20
    assert random_cells(100, 30, seed=3)[:20].tolist() == drawn.tolist()
    assert random_cells(100, 20, seed=4).tolist() != drawn.tolist()
    assert sorted(random_cells(3, 20, seed=3).tolist()) == [0, 1, 2]


def test_a_crop_is_centred_on_its_position_and_stays_inside_the_image():
    # There are 8 x 8 positions of 4 px each; the middle of position (3, 5) is 14 px down and 22 px across.
    assert crop_window((3, 5), (8, 8), side_px=8, image_px=32) == (10, 18)
    assert crop_window((0, 7), (8, 8), side_px=8, image_px=32) == (0, 24)
    assert crop_window((3, 5), (8, 8), side_px=32, image_px=32) == (0, 0)


def test_patches_stand_in_the_four_corners():
    assert corner_windows(32, 10) == [(0, 0), (0, 22), (22, 0), (22, 22)]
    assert [patch_px(32, share) for share in (0.2, 0.3, 0.4, 1.0, 0.001)] == [6, 10, 13, 32, 1]


@pytest.mark.parametrize("side", [32, 36])
def test_noise_has_the_spectrum_and_the_colours_of_its_patch_and_none_of_its_shapes(side):
    patch = picture(side)
    noise = noise_like(patch, (0, 3, 7))
    np.testing.assert_allclose(noise.mean(axis=(0, 1)), patch.mean(axis=(0, 1)), atol=0.6)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), patch.std(axis=(0, 1)), rtol=0.03)
    ours, theirs = (np.sqrt(power(image)) for image in (noise, patch))
    ours[0, 0] = theirs[0, 0] = 0
    # Rounding to integer levels adds a little white noise.
    assert np.abs(ours - theirs).max() < 0.03 * theirs.max()
    # The correlations between channels are kept, and the pixels are not.
    np.testing.assert_allclose(
        np.corrcoef(noise.reshape(-1, 3).T), np.corrcoef(patch.reshape(-1, 3).T), atol=0.03
    )
    assert abs(np.corrcoef(noise.ravel(), patch.ravel())[0, 1]) < 0.5


def test_noise_of_a_saturated_patch_keeps_its_mean_and_spread_through_clipping():
    patch = np.where(np.random.default_rng(0).random((24, 24, 1)) < 0.3, 250, 5).repeat(3, axis=2)
    noise = noise_like(patch.astype(np.uint8), (1,))
    np.testing.assert_allclose(noise.mean(axis=(0, 1)), patch.mean(axis=(0, 1)), atol=2.5)
    np.testing.assert_allclose(noise.std(axis=(0, 1)), patch.std(axis=(0, 1)), rtol=0.03)


def test_noise_is_the_same_for_the_same_cell_and_another_for_another():
    patch = picture()
    np.testing.assert_array_equal(noise_like(patch, (0, 3, 7)), noise_like(patch, (0, 3, 7)))
    assert (noise_like(patch, (0, 3, 7)) != noise_like(patch, (0, 7, 3))).mean() > 0.5


def test_noise_of_an_even_patch_is_the_patch():
    even = np.full((8, 8, 3), (10, 128, 255), np.uint8)
    np.testing.assert_array_equal(noise_like(even, (0,)), even)
