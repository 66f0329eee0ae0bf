import numpy as np
import pytest

from atlas_pipeline.numerics.legibility import (
    band_frequencies,
    colour_distance,
    colour_statistics,
    log_spectrum,
    real_statistics,
    saturated_share,
    speckle,
    spectrum_distance,
)

RNG = np.random.default_rng(0)


def soft(num: int, side_px: int = 16) -> np.ndarray:
    """Images whose amplitude falls as 1 / f, like that of photographs, (icon, row, column, 3) uint8."""
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.fftfreq(side_px)[None])
    spectrum = np.fft.fft2(RNG.normal(size=(num, 3, side_px, side_px))) / np.maximum(frequency, 1 / side_px)
    planes = np.fft.ifft2(spectrum).real
    planes = 128 + 30 * planes / planes.std()
    return planes.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def test_saturated_share_counts_pixels_with_any_lost_channel():
    image = np.full((1, 4, 5, 3), 128, dtype=np.uint8)
    image[0, 0, 0] = [2, 100, 100]
    image[0, 1, 1] = [100, 253, 255]
    image[0, 2, 2] = [3, 252, 128]
    assert saturated_share(image).tolist() == [pytest.approx(2 / 20)]


@pytest.mark.parametrize("cycles", [2, 5])
def test_a_wave_is_loudest_in_its_own_band(cycles):
    x = np.arange(32)
    wave = np.round(128 + 80 * np.sin(2 * np.pi * cycles * x / 32)).astype(np.uint8)
    image = np.broadcast_to(wave[None, None, :, None], (1, 32, 32, 3))
    assert log_spectrum(image)[0].argmax() == cycles - 1
    assert band_frequencies(32)[cycles - 1] == cycles / 32


def test_brightness_alone_leaves_no_spectrum():
    flat = np.full((1, 16, 16, 3), 200, dtype=np.uint8)
    assert (log_spectrum(flat) < -7.9).all()


def test_colour_statistics_of_a_known_image():
    image = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    image[:, :, :4, 0] = 255
    want = [0.1063, 0.5, 0.25, 0.1063, 0.5, 0.25]
    np.testing.assert_allclose(colour_statistics(image)[0], want, atol=1e-9)


def test_real_crops_are_about_one_from_their_own_average():
    images = soft(200)
    real = real_statistics(images)
    assert np.sqrt((spectrum_distance(images, real) ** 2).mean()) == pytest.approx(1, abs=1e-3)
    assert np.sqrt((colour_distance(images, real) ** 2).mean()) == pytest.approx(1, abs=1e-3)
    assert speckle(images, real).mean() == pytest.approx(0, abs=1e-6)


def test_confetti_and_blur_are_far_from_real_crops():
    real = real_statistics(soft(200))
    fresh = soft(20)
    confetti = RNG.integers(0, 256, size=(20, 16, 16, 3)).astype(np.uint8)
    grey = np.full((1, 16, 16, 3), 128, dtype=np.uint8)
    assert spectrum_distance(confetti, real).min() > 2 * np.median(spectrum_distance(fresh, real))
    assert colour_distance(confetti, real).min() > 2 * np.median(colour_distance(fresh, real))
    assert spectrum_distance(grey, real).min() > 2 * np.median(spectrum_distance(fresh, real))
    assert speckle(confetti, real).min() > 0.5 > np.abs(speckle(fresh, real)).max()


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        saturated_share(np.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="squares"):
        log_spectrum(np.zeros((1, 8, 9, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="at least 2"):
        real_statistics(soft(1))
    with pytest.raises(ValueError, match="same side"):
        spectrum_distance(soft(2, 32), real_statistics(soft(3)))
