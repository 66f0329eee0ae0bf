import time

import numpy as np
import pytest

from atlas_pipeline.numerics.grid import cell_of
from atlas_pipeline.pictures import layout_pictures
from atlas_pipeline.pictures.colours import QUALITATIVE
from atlas_pipeline.pictures.layout_pictures import density, density_map, dot_radius_px, scatter_plot


def blob(num_points, centre, width=0.03, seed=0):
    return np.clip(np.random.default_rng(seed).normal(centre, width, (num_points, 2)), 0, 1)


def mapped(xy, size_px):
    return density_map(density(xy, size_px))


def centre_of_ink(picture):
    ink = 255.0 - picture.min(axis=-1)
    row, col = np.indices(ink.shape)
    return (row * ink).sum() / ink.sum(), (col * ink).sum() / ink.sum()


@pytest.mark.parametrize("draw", [mapped, scatter_plot])
def test_a_cloud_lies_where_its_cells_lie(draw):
    xy = blob(2000, (0.2, 0.9))
    row, col = cell_of(xy, 100).mean(axis=0)
    assert np.abs(np.subtract(centre_of_ink(draw(xy, size_px=100)), (row, col))).max() < 1.0
    assert row < 20  # y points up: a high y is near the top


def test_density_adds_up_to_the_points_even_at_the_border():
    xy = np.concatenate([np.zeros((500, 2)), np.ones((300, 2)), blob(1000, (0.5, 0.0))])
    amount = density(xy, 60)
    assert amount.sum() == pytest.approx(1800)
    assert amount.min() >= 0


def test_density_narrows_with_more_points():
    def width(num_points):
        amount = density(np.full((num_points, 2), 0.5), 201)
        return np.sqrt((amount.sum(axis=0) / num_points * (np.arange(201) - 100) ** 2).sum())

    assert width(1_000) / width(64_000) == pytest.approx(2, rel=0.05)  # 64 ** (1 / 6)


def test_darker_is_denser_and_nothing_is_white():
    xy = np.concatenate([blob(5000, (0.3, 0.5)), blob(200, (0.7, 0.5), seed=1)])
    picture = mapped(xy, 200).astype(int).sum(axis=-1)
    assert picture[100, 60] < picture[100, 140] < 3 * 255
    assert picture[5, 5] == 3 * 255


def test_a_lone_dot_has_its_area_and_its_colour():
    xy = np.array([[0.503, 0.498]])
    picture = scatter_plot(xy, [1], num_classes=3, size_px=400)
    colour = QUALITATIVE[1].astype(float)
    share = (255 - picture.astype(float)) / (255 - colour)
    inked = share[..., 2]  # the channel with the most contrast in this colour
    assert inked.max() > 0.75
    radius = dot_radius_px(1, 400)
    assert inked.sum() / inked.max() == pytest.approx(np.pi * radius**2, rel=0.15)


def test_the_order_of_the_points_does_not_matter():
    rng = np.random.default_rng(0)
    xy, labels = blob(3000, (0.5, 0.5)), rng.integers(-1, 5, 3000)
    order = rng.permutation(3000)
    straight = scatter_plot(xy, labels, size_px=120).astype(int)
    shuffled = scatter_plot(xy[order], labels[order], size_px=120).astype(int)
    assert np.abs(straight - shuffled).max() <= 1  # float sums in a different order


def test_a_few_dots_are_added_as_many_are(monkeypatch):
    """To the pixels that they touch, or to the whole picture: the same bits."""
    xy, labels = blob(40, (0.9, 0.1), 0.2), np.arange(40) % 3 - 1
    few = scatter_plot(xy, labels, size_px=120)
    monkeypatch.setattr(layout_pictures, "_places", lambda pixel, count: (slice(None), pixel, count))
    assert np.array_equal(few, scatter_plot(xy, labels, size_px=120))
    assert (few < 255).any()


def test_columns_smoothed_at_once_change_no_bit(monkeypatch):
    xy, amounts = blob(300, (0.4, 0.6), 0.1), []
    for at_once in (1, 7, 80):
        monkeypatch.setattr(layout_pictures, "_COLUMNS_AT_ONCE", at_once)
        amounts.append(density(xy, 80))
    assert np.array_equal(amounts[0], amounts[1])
    assert np.array_equal(amounts[0], amounts[2])


def test_overlapping_classes_mix_evenly():
    xy = np.full((200, 2), 0.5)
    picture = scatter_plot(xy, np.arange(200) % 2, num_classes=2, size_px=41)
    np.testing.assert_allclose(picture[20, 20], QUALITATIVE[:2].mean(axis=0), atol=2)


def test_dots_on_the_border_do_not_wrap_round():
    picture = scatter_plot(np.array([[0.0, 0.5]]), [0], size_px=100)
    assert (picture[:, 10:] == 255).all()
    assert (picture[50, 0] < 255).any()


def test_a_dot_cut_by_the_border_shows_no_darker_than_a_whole_one():
    whole = scatter_plot(np.array([[0.5, 0.5]] * 3), [0] * 3, size_px=400).astype(int)
    cut = scatter_plot(np.array([[0.0, 0.5]] * 3), [0] * 3, size_px=400).astype(int)
    assert cut.min() >= whole.min()
    assert (255 - cut).sum() < 0.8 * (255 - whole).sum()


def test_without_labels_dots_are_coloured_by_density():
    xy = np.concatenate([blob(3000, (0.3, 0.5)), blob(30, (0.7, 0.5), 0.08, seed=1)])
    picture = scatter_plot(xy, size_px=300)
    np.testing.assert_array_equal(picture, scatter_plot(xy, np.full(len(xy), -1), size_px=300))
    assert picture[145:155, 85:95].astype(int).sum(axis=-1).min() < 200
    assert picture[:, 180:].astype(int).sum(axis=-1).min() > 250


def test_labels_and_points_go_together():
    with pytest.raises(ValueError, match="2 labels for 3 points"):
        scatter_plot(np.zeros((3, 2)), [0, 1])


@pytest.mark.parametrize("draw", [mapped, scatter_plot])
def test_no_points_give_a_white_picture(draw):
    assert (draw(np.zeros((0, 2)), size_px=20) == 255).all()


def test_two_hundred_thousand_points_take_seconds():
    xy = blob(200_000, (0.5, 0.5), 0.2)
    start = time.process_time()
    scatter_plot(xy, np.zeros(len(xy), int), size_px=800)
    assert time.process_time() - start < 10
