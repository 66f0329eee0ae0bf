"""Numbers of finished icons do not depend on threads, blocks or the device that ranks them."""

import numpy as np
import pytest
import torch

from atlas_pipeline.inversion import icon_numbers
from atlas_pipeline.inversion.icon_numbers import (
    legibility_numbers,
    noise_activation,
    real_crops,
    round_trip_on_device,
    unit_rows,
)
from atlas_pipeline.numerics import legibility
from atlas_pipeline.numerics.fidelity import round_trip

RNG = np.random.default_rng(0)


def icons(num, side_px=16):
    return RNG.integers(0, 256, (num, side_px, side_px, 3)).astype(np.uint8)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("num", [0, 1, 31, 32, 33, 97])
def test_numbers_are_equal_to_the_bit_in_any_blocks_and_threads(num, num_threads):
    images, real = icons(num), legibility.real_statistics(icons(20))
    numbers = legibility_numbers(images, real, num_threads)
    assert list(numbers) == ["saturated", "spectrum_distance", "colour_distance"]
    np.testing.assert_array_equal(numbers["saturated"], legibility.saturated_share(images))
    np.testing.assert_array_equal(numbers["spectrum_distance"], legibility.spectrum_distance(images, real))
    np.testing.assert_array_equal(numbers["colour_distance"], legibility.colour_distance(images, real))


def test_no_block_is_a_lone_image_and_none_is_large(monkeypatch):
    sizes = []
    monkeypatch.setattr(icon_numbers, "_block_numbers", lambda images, real: sizes.append(len(images)) or {})
    legibility_numbers(icons(1025, 8), None)
    assert sum(sizes) == 1025
    assert 1 < min(sizes) <= max(sizes) <= 32


def test_an_error_in_a_thread_keeps_its_type():
    with pytest.raises(ValueError, match="must have the same side"):
        legibility_numbers(icons(40), legibility.real_statistics(icons(3, 32)), num_threads=2)


def test_real_crops_have_the_numbers_of_their_own():
    crops = icons(50)
    real = legibility.real_statistics(crops)
    found = real_crops(crops, num_threads=2)
    np.testing.assert_array_equal(found.statistics.spectrum_mean, real.spectrum_mean)
    assert found.numbers == {
        "saturated": float(np.mean(legibility.saturated_share(crops))),
        "spectrum_distance": float(np.median(legibility.spectrum_distance(crops, real))),
        "colour_distance": float(np.median(legibility.colour_distance(crops, real))),
    }


def test_round_trip_on_a_device_equals_the_cpu_s_in_blocks(monkeypatch):
    monkeypatch.setattr(icon_numbers, "_TABLE_BYTES", 8 * 60 * 4)  # four rows of the table at a time
    activations, means = RNG.normal(size=(11, 5)).astype("f4"), RNG.normal(size=(60, 5)).astype("f2")
    activations[3] = 0
    own = RNG.integers(0, 60, 11)
    ranks = round_trip_on_device(activations, unit_rows(means, "cpu"), own)
    assert ranks.tolist() == round_trip(activations, means, own).tolist()
    assert ranks.dtype == np.int32
    assert len(set(ranks.tolist())) > 5
    assert round_trip_on_device(activations[:0], unit_rows(means, "cpu"), own[:0]).shape == (0,)


def test_a_rank_survives_means_that_float32_cannot_tell_apart():
    means = np.eye(3)[[0, 0]] + np.array([[0, 1e-4, 0], [0, 0, 0]])
    activations = np.array([[1.0, 1e-4, 0]])
    assert round_trip_on_device(activations, unit_rows(means, "cpu"), np.array([0])).tolist() == [0]


def test_noise_is_measured_once_for_a_feature_map_size_and_seed():
    calls = []

    class Layer(torch.nn.Module):
        def forward(self, images):
            calls.append(images.shape)
            return images

    layer, other = Layer(), Layer()
    first = noise_activation(layer, 8, 0, "cpu")
    num_calls = len(calls)
    assert noise_activation(layer, 8, 0, "cpu") is first
    assert len(calls) == num_calls
    assert not np.array_equal(noise_activation(layer, 8, 1, "cpu"), first)
    assert noise_activation(layer, 16, 0, "cpu") is not first
    before = len(calls)
    np.testing.assert_array_equal(noise_activation(other, 8, 0, "cpu"), first)
    assert len(calls) > before


def test_noise_is_forgotten_with_its_feature_map():
    layer = torch.nn.Identity()
    num = len(icon_numbers._NOISE_CACHE)
    noise_activation(layer, 8, 0, "cpu")
    assert len(icon_numbers._NOISE_CACHE) == num + 1
    del layer
    assert len(icon_numbers._NOISE_CACHE) <= num
