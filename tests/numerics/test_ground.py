"""The share of an image's contrast that lies within a field of pixels."""

import numpy as np
import pytest

from atlas_pipeline.numerics.ground import contrast, field_mask, mean_energy, share_in_field

SIDE = 40
CENTRE = np.zeros((SIDE, SIDE), dtype=bool)
CENTRE[10:30, 10:30] = True


def noise(num, where=True, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (num, SIDE, SIDE, 3), dtype=np.uint8)
    return np.where(np.broadcast_to(where, (SIDE, SIDE))[None, :, :, None], pixels, 128).astype(np.uint8)


def test_noise_has_the_share_of_the_fields_area():
    assert share_in_field(noise(20), CENTRE).mean() == pytest.approx(CENTRE.mean(), abs=0.01)


def test_a_thing_on_a_grey_ground_has_all_its_contrast_there():
    shares = share_in_field(noise(4, where=CENTRE), CENTRE)
    assert shares.min() > 0.95
    assert share_in_field(noise(4, where=~CENTRE), CENTRE).max() < 0.1


def test_a_smooth_ground_is_quiet():
    ramp = np.linspace(0, 60, SIDE)[None, :, None] + np.zeros((SIDE, SIDE, 3))
    image = np.where(CENTRE[..., None], noise(1)[0], 100 + ramp).astype(np.uint8)
    assert share_in_field(image[None], CENTRE)[0] > 0.95


def test_colour_counts_as_brightness_does():
    def spotted(colour):
        image = np.full((SIDE, SIDE, 3), 128.0)
        image[20, 20] += colour
        return contrast(image[None].astype(np.uint8))[0, 20, 20]

    # Both spots deviate by the same length in red, green and blue; the second is of the ground's grey.
    assert spotted((30, 30, 0)) == pytest.approx(spotted((30, -30, 0)), rel=1e-5)


def test_a_uniform_image_has_no_share():
    assert np.isnan(share_in_field(np.full((1, SIDE, SIDE, 3), 7, np.uint8), CENTRE)).all()


def test_the_field_is_the_fewest_pixels_with_its_energy():
    energy = np.random.default_rng(0).random((7, 9)) ** 4
    mask = field_mask(energy, 0.8)
    assert energy[mask].sum() >= 0.8 * energy.sum()
    assert energy[mask].sum() - energy[mask].min() < 0.8 * energy.sum()
    assert energy[mask].min() >= energy[~mask].max()


def test_every_image_counts_equally_in_the_mean_energy():
    rng = np.random.default_rng(0)
    energies = rng.random((3, 4, 5))
    expected = np.mean([one / one.sum() for one in energies], axis=0)
    assert mean_energy(energies * np.array([1.0, 1e6, 1e-6])[:, None, None]) == pytest.approx(expected)


def test_images_without_energy_count_for_nothing():
    one = np.random.default_rng(0).random((1, 4, 5))
    assert mean_energy(np.concatenate([one, 0 * one])) == pytest.approx(one[0] / one.sum())
    assert mean_energy(np.zeros((2, 4, 5))) == pytest.approx(1 / 20)
