import numpy as np
import pytest

from atlas_pipeline.numerics.boxes import leader_ends
from atlas_pipeline.numerics.label_places import place_labels

PAGE = (10.0, 20.0, 110.0, 100.0)


def boxes_of(places, sizes):
    return np.concatenate([places, places + np.asarray(sizes)], axis=1)


def overlapping(boxes):
    """Count the pairs of boxes that overlap."""
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
    ink = rng.uniform(size=(40, 50)) > 0.99
    placed = place_labels(anchors, sizes, PAGE, ink)
    boxes = boxes_of(placed, sizes)
    assert np.isfinite(placed).all()
    assert overlapping(boxes) == 0
    assert (boxes[:, :2] >= np.array(PAGE[:2]) - 1e-9).all()
    assert (boxes[:, 2:] <= np.array(PAGE[2:]) + 1e-9).all()
    # Pixels of ink are 2 x 2.
    for row, col in np.argwhere(ink).tolist():
        low = np.array([PAGE[0] + 2 * col, PAGE[1] + 2 * row])
        assert not ((low + 2 > boxes[:, :2] + 1e-9) & (low < boxes[:, 2:] - 1e-9)).all(axis=1).any()


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
    assert np.isnan(place_labels([[60, 60]], [[12, 4]], PAGE, np.ones((8, 10)))).all()
    assert place_labels(np.empty((0, 2)), np.empty((0, 2)), PAGE, np.zeros((8, 10))).shape == (0, 2)


def crosses(line, box):
    """Whether a segment passes through the inside of a box, tested at a thousand of its points."""
    points = line[0] + np.linspace(0, 1, 1000)[:, None] * (line[1] - line[0])
    return bool(((points > box[:2] + 1e-6) & (points < box[2:] - 1e-6)).all(axis=1).any())


def test_a_line_that_is_drawn_already_is_not_written_on():
    anchor, size = np.array([[60.0, 60.0]]), np.array([[14.0, 4.0]])
    free = boxes_of(place_labels(anchor, size, PAGE, np.zeros((40, 50))), size)[0]
    middle = free[[1, 3]].mean()
    drawn = np.array([[[free[0] - 5, middle], [free[2] + 1, middle]]])
    kept_off = boxes_of(place_labels(anchor, size, PAGE, np.zeros((40, 50)), drawn), size)[0]
    assert crosses(drawn[0], free)
    assert not crosses(drawn[0], kept_off)


@pytest.mark.parametrize("seed", range(4))
def test_no_leader_line_runs_through_another_label_where_there_is_room(seed):
    rng = np.random.default_rng(seed)
    # Many anchors in the middle of an empty page, so the nearby places run out.
    anchors = rng.uniform([45, 50], [75, 70], (14, 2))
    sizes = np.tile([14.0, 4.0], (14, 1))
    boxes = boxes_of(place_labels(anchors, sizes, PAGE, np.zeros((40, 50))), sizes)
    lines = np.stack([anchors, leader_ends(boxes, anchors)], axis=1)
    assert not any(crosses(lines[k], boxes[j]) for k in range(14) for j in range(14) if j != k)
    hidden = (anchors[:, None] > boxes[None, :, :2]) & (anchors[:, None] < boxes[None, :, 2:])
    assert not hidden.all(axis=2).any()


def test_no_leader_line_is_longer_than_the_longest():
    """The only free ground lies 40 to the right of the labelled point."""
    ink = np.ones((40, 50))
    ink[:, 40:] = 0
    arguments = ([[50, 60]], [[12, 4]], PAGE, ink)
    assert np.isfinite(place_labels(*arguments, longest=60)).all()
    assert np.isnan(place_labels(*arguments, longest=20)).all()
