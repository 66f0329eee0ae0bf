"""Cosines in earlier layers on a scale from noise to a cell's real patches."""

import numpy as np
import pytest

from atlas_pipeline.numerics.path_likeness import over_layers, path_likeness

RNG = np.random.default_rng(0)
LAYERS, CHANNELS = 3, 20
CELL = RNG.random((LAYERS, CHANNELS))


def near(centre, num, spread, seed):
    return centre + spread * np.random.default_rng(seed).standard_normal((num, LAYERS, CHANNELS))


PATCHES, NOISE = near(CELL, 9, 0.2, 1), near(0 * CELL, 64, 1.0, 2)


def oracle(picture, patches, noise):
    """The definition, number by number."""

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    values = []
    for layer in range(LAYERS):
        mean = patches[:, layer].mean(axis=0)
        low = np.median([cosine(image[layer], mean) for image in noise])
        rest = [np.delete(patches[:, layer], k, axis=0).mean(axis=0) for k in range(len(patches))]
        high = np.median([cosine(patch[layer], m) for patch, m in zip(patches, rest, strict=True)])
        values.append((cosine(picture[layer], mean) - low) / (high - low))
    return values


def test_likeness_is_as_defined():
    pictures = near(CELL, 4, 0.5, 3)
    expected = [oracle(picture, PATCHES, NOISE) for picture in pictures]
    assert path_likeness(pictures, PATCHES, NOISE) == pytest.approx(np.array(expected), abs=1e-5)


def test_noise_is_0_and_a_real_patch_about_1():
    assert np.median(path_likeness(NOISE, PATCHES, NOISE), axis=0) == pytest.approx(0, abs=1e-6)
    unseen = path_likeness(near(CELL, 200, 0.2, 4), PATCHES, NOISE)
    assert np.median(unseen, axis=0) == pytest.approx(1, abs=0.05)


def test_zeros_that_fill_up_a_narrow_layer_change_nothing():
    def wider(values):
        return np.concatenate([values, np.zeros((*values.shape[:2], 5))], axis=2)

    pictures = near(CELL, 2, 0.5, 3)
    assert path_likeness(wider(pictures), wider(PATCHES), wider(NOISE)) == pytest.approx(
        path_likeness(pictures, PATCHES, NOISE), abs=1e-6
    )


def test_a_layer_that_tells_no_patch_from_noise_has_no_scale():
    patches, noise = PATCHES.copy(), NOISE.copy()
    patches[:, 1] = noise[:, 1] = CELL[1]
    likeness = path_likeness(near(CELL, 2, 0.2, 3), patches, noise)
    assert np.isnan(likeness).tolist() == [[False, True, False]] * 2
    assert np.isfinite(over_layers(likeness)).all()


def test_one_patch_gives_no_scale():
    likeness = path_likeness(near(CELL, 2, 0.2, 3), PATCHES[:1], NOISE)
    assert np.isnan(likeness).all()
    assert np.isnan(over_layers(likeness)).all()


def test_one_number_is_the_median_of_the_known_layers():
    likeness = np.array([[0.1, 0.9, np.nan, 0.4]], dtype=np.float32)
    assert over_layers(likeness) == pytest.approx([0.4])


def test_a_layer_with_none_before_it_has_no_path():
    assert np.isnan(over_layers(np.empty((2, 0), dtype=np.float32))).tolist() == [True, True]
    assert over_layers(np.empty((0, 0), dtype=np.float32)).shape == (0,)
