import numpy as np
import pytest

from atlas_pipeline.numerics.alignment import layout_alignment
from atlas_pipeline.numerics.normalise import normalise_layout, normalise_together


def test_distances_by_hand():
    layout = np.zeros((4, 2), np.float32)
    other = np.array([[3, 4], [0, 1], [0, 0], [0, 2]], np.float32) / 10
    figures = layout_alignment(layout, other, seed=0)
    assert figures["alignment"] == pytest.approx(0.15)
    assert figures["alignment_mean"] == pytest.approx(0.2)
    # All points of one layout coincide, so the pairing makes no difference.
    assert figures["alignment_chance"] == pytest.approx(0.15)


def test_the_same_layout_is_no_distance_away_and_chance_is():
    layout = np.random.default_rng(0).random((5000, 2))
    figures = layout_alignment(layout, layout, seed=0)
    assert figures["alignment"] == figures["alignment_mean"] == 0
    # 0.512 is the median distance between two random points of the unit square.
    assert figures["alignment_chance"] == pytest.approx(0.512, abs=0.01)


def test_without_images_nothing_is_known():
    assert set(layout_alignment(np.empty((0, 2)), np.empty((0, 2)), 0).values()) == {None}


def test_one_box_keeps_the_same_place_the_same():
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(size=(300, 2)) * 3, rng.normal(size=(200, 2))
    narrow[:50] = wide[:50]
    boxed = normalise_together([wide, narrow])
    assert [len(layout) for layout in boxed] == [300, 200]
    assert np.array_equal(boxed[0][:50], boxed[1][:50])
    assert np.array_equal(np.concatenate(boxed), normalise_layout(np.concatenate([wide, narrow])))
    # Normalising each layout separately does not keep the shared places equal.
    assert not np.allclose(normalise_layout(wide)[:50], normalise_layout(narrow)[:50], atol=0.05)
