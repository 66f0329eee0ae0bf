"""Synthetic stimuli: turned like pictures, anti-aliased, sized to the field, in a fixed order."""

import numpy as np
import pytest
from PIL import Image

from atlas_pipeline.images.generated.stimuli import (
    INKS,
    Look,
    Place,
    Shape,
    StimulusSet,
    stimuli,
    stimulus,
)

PLACE = Place(side_px=65, row=32.5, col=32.5, radius=12)
STROKE, FILLED = Look(False, "light on dark"), Look(True, "light on dark")
SHAPES = [Shape(0, 0), Shape(180, 1), Shape(180, 0.2), Shape(90, 0), Shape(90, 0.5)]
SET = StimulusSet(num_orientations=8, curvatures=(0, 1), corner_radii=(0, 0.5), stroke_width=0.3)


def grey(shape, look, orientation, place=PLACE, stroke_width=0.3):
    """(side, side) in [0, 1]: 0 the ground, 1 the shape."""
    picture = stimulus(shape, look, orientation, stroke_width, place).astype(float)[..., 0]
    return (picture - 51) / (204 - 51)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("look", [STROKE, FILLED])
def test_a_quarter_turn_is_that_of_the_picture(shape, look):
    first, turned = grey(shape, look, 0), grey(shape, look, 90)
    # Pillow draws borders an eighth of a pixel wider on one side.
    assert np.abs(np.rot90(first) - turned).mean() < 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_any_turn_is_that_of_the_picture(shape):
    first, turned = grey(shape, FILLED, 0), grey(shape, FILLED, 30)
    rotated = np.asarray(Image.fromarray(first.astype(np.float32)).rotate(30, Image.Resampling.BILINEAR))
    row, col = np.ogrid[:65, :65]
    inside = np.hypot(row - 32, col - 32) < 30
    assert np.abs(rotated - turned)[inside].mean() < 0.02


def test_at_orientation_0_the_hollow_side_is_to_the_right():
    picture = grey(Shape(180, 1), FILLED, 0)
    assert picture[32, 40] == 1
    assert picture[32, 25] == 0
    assert grey(Shape(180, 1), FILLED, 90)[25, 32] == 1


@pytest.mark.parametrize("look", [STROKE, FILLED])
def test_a_curve_has_the_area_of_its_circle(look):
    # A half circle of 24 px in radius, with straight ends 40 px long up to the image's edge.
    place = Place(side_px=201, row=100.5, col=100.5, radius=24)
    area = grey(Shape(180, 1), look, 0, place).sum()
    along = 100.5 - 24
    filled = np.pi * 24**2 / 2 + 2 * 24 * along
    stroke = 0.3 * 24 * (np.pi * 24 + 2 * along)
    assert area == pytest.approx(filled if look.is_filled else stroke, rel=0.02)


def test_edges_are_anti_aliased():
    assert len(np.unique(grey(Shape(0, 0), FILLED, 20))) > 20


def test_a_corner_becomes_a_curve_as_its_radius_grows():
    corner, rounded, wide = (grey(Shape(90, radius), FILLED, 0) for radius in (0, 0.5, 2))
    # The apex stays where it is, and the area grows with the rounding.
    assert [picture[32, 31] for picture in (corner, rounded, wide)] == pytest.approx([0, 0, 0], abs=0.1)
    assert corner.sum() < rounded.sum() < wide.sum()


def test_stimuli_have_the_order_of_orientation_shape_and_look():
    assert [shape.name for shape in SET.shapes] == ["line", "curve 1", "corner", "corner 0.5"]
    assert [look.name for look in SET.looks][:2] == ["stroke, light on dark", "stroke, dark on light"]
    assert len(SET) == 8 * 4 * 8
    drawn = list(stimuli(SET, 0, len(SET), PLACE))
    for number in (0, 5, 77, 255):
        turned, shape, look = np.unravel_index(number, (8, 4, 8))
        alone = stimulus(SET.shapes[shape], SET.looks[look], SET.orientations[turned], 0.3, PLACE)
        assert (drawn[number] == alone).all()
    assert (next(stimuli(SET, 77, 78, PLACE)) == drawn[77]).all()


def test_inks_swap_the_colours_of_shape_and_ground():
    light, dark = (stimulus(Shape(0, 0), Look(True, ink), 0, 0.3, PLACE) for ink, _, _ in INKS[:2])
    assert light[32, 60].tolist() == dark[32, 4].tolist() == [204] * 3
    assert light[32, 4].tolist() == dark[32, 60].tolist() == [51] * 3


def test_the_field_sets_the_size_and_the_apex():
    small = grey(Shape(180, 1), FILLED, 0, Place(side_px=65, row=20, col=12, radius=6))
    assert small[20, 14:60].min() == 1
    # A curve is as wide as two of its radii.
    assert small[:, 40].sum() == pytest.approx(12, abs=0.3)
