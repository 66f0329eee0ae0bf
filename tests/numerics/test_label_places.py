import numpy as np
import pytest

from atlas_pipeline.numerics.label_places import leader_ends, place_labels

PAGE = (10.0, 20.0, 110.0, 100.0)


def boxes_of(places, sizes):
    return np.concatenate([places, places + np.asarray(sizes)], axis=1)


def overlapping(boxes):
    """Pairs of boxes that share ground."""
    number = 0
    for k, a in enumerate(boxes):
        for b in boxes[:k]:
            number += bool((np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])).all())
    return number


@pytest.mark.parametrize("seed", range(5))
def test_no_two_labels_overlap_and_all_are_on_the_page(seed):
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(PAGE[:2], PAGE[2:], (25, 2))
    sizes = np.stack([rng.uniform(5, 30, 25), np.full(25, 4.0)], axis=1)
    placed = place_labels(anchors, sizes, PAGE, rng.uniform(size=(40, 50)) > 0.5)
    boxes = boxes_of(placed, sizes)
    assert np.isfinite(placed).all()
    assert overlapping(boxes) == 0
    assert (boxes[:, :2] >= np.array(PAGE[:2]) - 1e-9).all()
    assert (boxes[:, 2:] <= np.array(PAGE[2:]) + 1e-9).all()


def test_a_label_takes_the_empty_ground():
    ink = np.ones((80, 100))
    ink[60:70, 70:95] = 0  # y 80 to 90, x 80 to 105
    (place,) = place_labels([[60, 60]], [[12, 4]], PAGE, ink)
    assert 80 <= place[0] <= 105 - 12
    assert 80 <= place[1] <= 90 - 4


def test_where_all_is_empty_a_label_stays_with_what_it_names():
    (place,) = place_labels([[60, 60]], [[12, 4]], PAGE, np.zeros((8, 10)))
    end = leader_ends(boxes_of(place[None], [[12, 4]]), [60.0, 60.0])[0]
    assert np.linalg.norm(end - [60, 60]) < 4


def test_what_fits_nowhere_is_left_out():
    placed = place_labels([[60, 60], [60, 60]], [[90, 70], [90, 70]], PAGE, np.zeros((8, 10)))
    assert np.isfinite(placed).all(axis=1).tolist() == [True, False]
    assert np.isnan(place_labels([[60, 60]], [[101, 4]], PAGE, np.zeros((8, 10)))).all()
    assert place_labels(np.empty((0, 2)), np.empty((0, 2)), PAGE, np.zeros((8, 10))).shape == (0, 2)


def test_leader_lines_do_not_cross_where_they_need_not():
    anchors, sizes = np.array([[58.0, 60.0], [62.0, 60.0]]), [[20, 4], [20, 4]]
    ink = np.ones((80, 100))
    ink[30:50, :25] = ink[30:50, 75:] = 0
    placed = place_labels(anchors, sizes, PAGE, ink)
    assert placed[0, 0] < placed[1, 0]
