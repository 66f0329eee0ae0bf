"""States of units: examples and counts equal those of a plain loop, however the images are split."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from atlas_pipeline.models.unit_values import UnitScale, unit_state
from atlas_pipeline.numerics.unit_state import (
    FIELDS,
    HISTOGRAM_BINS,
    HISTOGRAM_LOW,
    HISTOGRAM_STEP,
    empty_state,
    merge,
    range_of_bins,
    shares_of_ranges,
)

RANGES = (-1.0, 0.0, 1.0, 2.5)
IDS = np.array([3, 4, 7, 9, 10, 15, 16, 20, 31, 40, 41, 52], np.int64)


@pytest.fixture(scope="module")
def values():
    drawn = np.random.default_rng(0).normal(size=(len(IDS), 5, 3, 4)).astype(np.float32)
    drawn[:, 3] = 0.25  # a unit that never varies
    drawn[:, 4] = -np.abs(drawn[:, 4])  # a unit that never fires
    drawn[2, 0, 1, 2] = drawn[2, 0, 2, 1] = drawn[5, 0, 0, 0] = 9.0  # equal maxima
    drawn[6, 1, 0, 0], drawn[7, 1, 0, 0] = 500.0, -500.0  # beyond both ends of the histogram
    return drawn


def scale(values, **changed):
    # The scale of a first look; outliers that it has not seen lie beyond the histogram.
    seen = np.clip(values, -10, 10)
    mean, sd = seen.mean((0, 2, 3), dtype=np.float64), seen.std((0, 2, 3), dtype=np.float64)
    how = {"ranges": RANGES, "num_top": 4, "per_range": 3, "seed": 5, **changed}
    return UnitScale(mean=torch.tensor(mean), sd=torch.tensor(np.where(sd > 0, sd, 1)), **how)


def state(values, parts, how):
    return merge(unit_state(torch.tensor(values[part]), IDS[part], how) for part in parts)


def test_counts_and_sums_are_those_of_a_loop_over_positions(values):
    how = scale(values)
    found = state(values, [slice(None)], how)
    counts = np.zeros((5, HISTOGRAM_BINS + 2), int)
    sums = np.zeros((5, HISTOGRAM_BINS + 2))
    for unit in range(5):
        for value in values[:, unit].ravel():
            deviation = (value - np.float32(how.mean[unit])) / np.float32(how.sd[unit])
            place = int(
                np.clip(np.floor((deviation - HISTOGRAM_LOW) / HISTOGRAM_STEP) + 1, 0, HISTOGRAM_BINS + 1)
            )
            counts[unit, place] += 1
            sums[unit, place] += max(value, 0)
    assert (found.counts == counts).all()
    assert np.allclose(found.sums, sums, rtol=1e-6)
    assert found.counts[1, 0] == 1
    assert found.counts[1, -1] == 1
    assert found.num_firing.tolist() == [(values[:, u] > 0).any((1, 2)).sum() for u in range(5)]
    assert found.num_positive.tolist() == [(values[:, u] > 0).sum() for u in range(5)]
    assert found.num_firing[4] == 0
    assert np.allclose(found.total, values.sum((0, 2, 3), dtype=np.float64))
    assert np.allclose(found.squares, (values.astype(float) ** 2).sum((0, 2, 3)))
    assert (found.least == values.min((0, 2, 3))).all()
    assert (found.num_images == len(IDS)).all()


def test_top_examples_are_the_images_with_the_largest_maxima(values):
    found = state(values, [slice(None)], scale(values))
    for unit in range(5):
        highest = values[:, unit].reshape(len(IDS), -1).max(1)
        order = sorted(range(len(IDS)), key=lambda i: (-highest[i], IDS[i]))[:4]
        assert found.top_image[unit].tolist() == IDS[order].tolist()
        assert found.top_value[unit].tolist() == highest[order].tolist()
        for image, place in zip(order, found.top_place[unit], strict=True):
            assert place == values[image, unit].ravel().argmax()
    # Equal maxima: the image listed first, and the first of its positions.
    assert found.top_image[0, :2].tolist() == [7, 15]
    assert found.top_place[0, 0] == 1 * 4 + 2


def test_examples_of_a_range_lie_in_it_and_no_image_comes_twice(values):
    how = scale(values)
    found = state(values, [slice(None)], how)
    borders = [-np.inf, *RANGES, np.inf]
    for unit in range(5):
        deviations = (values[:, unit] - np.float32(how.mean[unit])) / np.float32(how.sd[unit])
        for number, (low, high) in enumerate(pairwise(borders)):
            reaching = {
                int(i) for i, one in zip(IDS, deviations, strict=True) if ((one >= low) & (one < high)).any()
            }
            chosen = [int(i) for i in found.range_image[unit, number] if i >= 0]
            assert len(chosen) == min(3, len(reaching)) == len(set(chosen))
            assert set(chosen) <= reaching
            for image, value, place in zip(
                chosen, found.range_value[unit, number], found.range_place[unit, number], strict=False
            ):
                row = IDS.tolist().index(image)
                assert value == values[row, unit].ravel()[place]
                assert low <= deviations[row].ravel()[place] < high


@pytest.mark.parametrize(
    "parts",
    [
        [slice(0, 5), slice(5, 6), slice(6, 12)],
        [slice(6, 12), slice(0, 6)],
        [slice(i, i + 1) for i in (4, 0, 11, 2, 9, 1, 3, 5, 8, 6, 7, 10)],
    ],
)
def test_no_split_and_no_order_of_the_images_changes_the_state(values, parts):
    how = scale(values)
    whole, split = state(values, [slice(None)], how), state(values, parts, how)
    for name in FIELDS:
        one, other = getattr(whole, name), getattr(split, name)
        if name in ("sums", "total", "squares"):
            assert np.allclose(one, other, rtol=1e-12), name
        else:
            assert (one == other).all(), name


def test_another_seed_draws_other_examples_and_the_same_top(values):
    one, other = (state(values, [slice(None)], scale(values, seed=seed)) for seed in (5, 6))
    assert (one.top_image == other.top_image).all()
    assert (one.range_image != other.range_image).any()
    assert (one.counts == other.counts).all()


def test_units_draw_different_images_of_a_range():
    """A key of the image alone would show one set of images on every page."""
    values = np.random.default_rng(1).normal(size=(12, 6, 8, 8)).astype(np.float32)
    found = state(values, [slice(None)], scale(values))
    assert len({tuple(images) for images in found.range_image[:, 2]}) > 1


def test_a_state_without_images_is_neutral(values):
    how = scale(values)
    found = state(values, [slice(None)], how)
    joined = empty_state(5, 4, 5, 3).merged(found)
    assert all((getattr(found, name) == getattr(joined, name)).all() for name in FIELDS)


def test_shares_add_up_and_follow_the_values_that_they_come_from():
    values = np.zeros((1, 2, 1, 4), np.float32)
    values[0, 0] = [-3, 1, 3, -1]
    values[0, 1] = -1
    how = UnitScale(mean=torch.zeros(2), sd=torch.ones(2), ranges=(0.0, 2.0), num_top=1, per_range=1, seed=0)
    shares = shares_of_ranges(unit_state(torch.tensor(values), IDS[:1], how).sums, how.ranges)
    # One of four units of expected activation lies between 0 and 2, three beyond.
    assert shares.tolist() == [[0, 0.25, 0.75], [0, 0, 0]]


def test_every_bin_has_the_range_of_its_values():
    which = range_of_bins((-1.0, 0.0, 8.0))
    assert which[0] == 0
    assert which[-1] == 3
    for deviation, number in ((-1.1, 0), (-1.0, 1), (-0.1, 1), (0.0, 2), (7.9, 2), (8.0, 3)):
        assert which[int((deviation - HISTOGRAM_LOW) // HISTOGRAM_STEP) + 1] == number
