import numpy as np
import pytest

from atlas_pipeline.pictures.colours import QUALITATIVE, class_colours, density_colours, srgb_from_oklch

# Linear-light simulation of full protan-, deuter- and tritanopia (Machado, Oliveira, Fernandes 2009).
SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(srgb, sight=SIGHTS[0]):
    value = np.asarray(srgb) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.cbrt(np.clip(linear @ sight.T, 0, 1) @ CONES.T) @ LAB.T


def test_the_dozen_can_be_told_apart_by_every_eye_and_from_white():
    shown = np.concatenate([QUALITATIVE, [[255, 255, 255]]])
    for sight in SIGHTS:
        lab = oklab(shown, sight)
        apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + np.eye(len(shown))
        assert apart.min() > 0.075


def test_density_darkens_evenly_from_white():
    lightness = oklab(density_colours(np.linspace(0, 1, 65)))[:, 0]
    steps = -np.diff(lightness)
    assert density_colours(0.0).tolist() == [255, 255, 255]
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


def test_amounts_beyond_the_scale_are_clipped_and_the_shape_stays():
    assert density_colours([[-1, 2], [0, 1]])[0].tolist() == density_colours([[0, 1], [0, 1]])[0].tolist()
    assert density_colours(np.zeros((4, 5))).shape == (4, 5, 3)


def test_oklch_hits_known_colours():
    # Values from Ottosson's table: pure sRGB red, and grey.
    assert srgb_from_oklch(0.62796, 0.25768, 29.234).tolist() == [255, 0, 0]
    assert len(set(srgb_from_oklch(0.5, 0.0, 123.0).tolist())) == 1


@pytest.mark.parametrize("num_classes", [1, 12, 13, 24, 1000])
def test_every_class_has_a_colour(num_classes):
    colours = class_colours(num_classes)
    assert colours.shape == (num_classes, 3)
    if num_classes <= 24:
        assert len(np.unique(colours, axis=0)) == num_classes


def test_neighbouring_classes_of_a_long_list_are_apart():
    lab = oklab(class_colours(24))
    assert np.linalg.norm(np.diff(lab, axis=0), axis=1).min() > 0.08
