"""The vignette: its field, its map, and icons that fade towards their edge."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from atlas_pipeline.inversion import Channel, InversionSettings, invert
from atlas_pipeline.inversion.canvas import Canvas
from atlas_pipeline.inversion.vignette import Field, contrast_map, effective_field

CPU = torch.device("cpu")
SETTINGS = InversionSettings(size_px=32, steps=24)


def of_patch(kernel, padding=0, stride=1):
    layer = nn.Conv2d(3, 8, kernel, stride=stride, padding=padding).requires_grad_(False)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    return layer


def test_the_field_holds_half_of_the_gradient_of_the_centre():
    # The centre of a map of 16 x 16 is position 8, which sees rows 14 to 18 of 32.
    field = effective_field(of_patch(5, padding=2, stride=2), 32, CPU)
    assert (field.row, field.col) == (pytest.approx(16.5, abs=0.5), pytest.approx(16.5, abs=0.5))
    # Half of a 5 x 5 square is a disc of radius 2.
    assert field.radius == 2


def test_a_wider_kernel_has_a_wider_field():
    radii = [effective_field(of_patch(side, padding=side // 2), 33, CPU).radius for side in (3, 9, 17)]
    assert radii == sorted(set(radii))


def test_without_a_gradient_the_whole_image_is_the_field():
    flat = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    nn.init.zeros_(flat.weight)
    field = effective_field(flat, 32, CPU)
    assert (contrast_map(field, 1.0, SETTINGS) > 0.99).all()


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_the_contrast_falls_from_the_field_to_the_edge(strength):
    field = Field(row=16, col=16, radius=5)
    contrast = contrast_map(field, strength, SETTINGS)
    side = SETTINGS.canvas_px
    assert contrast.shape == (side, side)
    middle = contrast[side // 2, side // 2 :]
    assert middle[0] == 1
    assert middle[-1] == pytest.approx(1 - strength)
    assert (middle.diff() <= 0).all()
    # Every direction falls alike.
    assert torch.allclose(contrast, contrast.T)
    assert torch.allclose(contrast, contrast.flip(0))


def deviation(images):
    """Mean distance of the pixels from mid-grey, in the field and at the edge."""
    away = np.abs(images.astype(float) - 127.5).mean(axis=(0, 3))
    edge = np.concatenate([away[:3].ravel(), away[-3:].ravel()])
    return away[13:19, 13:19].mean(), edge.mean()


def test_icons_fade_towards_their_edge():
    layer = of_patch(15, padding=7, stride=4)
    directions = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    plain = invert(layer, directions, range(4), SETTINGS).images.numpy()
    faded = invert(layer, directions, range(4), dataclasses.replace(SETTINGS, vignette=0.9)).images.numpy()
    assert deviation(faded)[1] < 0.5 * deviation(plain)[1]
    assert deviation(faded)[0] > 0.7 * deviation(plain)[0]


def test_a_warm_start_shows_the_finished_icon_again():
    settings = dataclasses.replace(SETTINGS, spectrum_cutoff=2.0)
    canvas = Canvas(settings, CPU, contrast=contrast_map(Field(16, 16, 8), 0.8, settings))
    smooth = torch.linspace(90, 160, 32)[None, :, None, None].expand(1, 32, 32, 3)
    icon = smooth.round().to(torch.uint8).contiguous()
    again = canvas.icon(canvas.start_from(icon))
    assert (again.int() - icon.int()).abs().max() <= 3


def test_objectives_of_many_positions_have_no_field():
    assert Channel(of_patch(3), [0]).field(32, CPU) is None
