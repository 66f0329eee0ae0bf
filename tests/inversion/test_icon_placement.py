"""Placement: icons enter the network so that their middle is what the centre position looks at."""

import numpy as np
import pytest
import torch
from torch import nn

from atlas_pipeline.inversion import InversionSettings, centre_activation, invert
from atlas_pipeline.inversion.placement import Placed, moved, placed, shift_px_of
from atlas_pipeline.inversion.vignette import effective_field
from atlas_pipeline.inversion.visible_window import parts_of, visible_window
from atlas_pipeline.numerics.crop_window import window_like_icon

CPU = torch.device("cpu")


def of_patch(kernel, padding=0, stride=1):
    layer = nn.Conv2d(3, 8, kernel, stride=stride, padding=padding).requires_grad_(False)
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    return layer


# Kernel, padding, stride, side, shift. The centre position looks right of the middle, at it, or left of it.
CASES = [(8, 0, 8, 32, 4), (8, 0, 8, 40, 0), (5, 2, 2, 32, 0), (7, 3, 8, 40, -4), (16, 0, 16, 32, 8)]


@pytest.mark.parametrize(("kernel", "padding", "stride", "side", "shift"), CASES)
def test_the_centre_position_looks_at_the_middle(kernel, padding, stride, side, shift):
    layer = of_patch(kernel, padding, stride)
    assert shift_px_of(placed(layer, side, CPU)) == shift
    field = effective_field(placed(layer, side, CPU), side, CPU)
    assert (field.row, field.col) == (pytest.approx(side / 2, abs=1), pytest.approx(side / 2, abs=1))


def test_a_map_that_looks_at_the_middle_is_left_alone():
    layer = of_patch(8, stride=8)
    assert placed(layer, 40, CPU) is layer


def test_a_map_without_a_gradient_is_left_alone():
    flat = of_patch(8, stride=8)
    nn.init.zeros_(flat.weight)
    assert placed(flat, 32, CPU) is flat


def test_no_image_is_moved_by_more_than_a_quarter():
    class Corner(nn.Module):
        def forward(self, images):
            return images[:, :, -1:, -1:]

    assert shift_px_of(placed(Corner(), 32, CPU)) == 8


@pytest.mark.parametrize("shift_px", [-3, 4])
def test_a_window_of_a_placed_map_gives_its_centre(shift_px):
    class Split(nn.Module):
        first, second = of_patch(4, stride=4), nn.Conv2d(8, 5, 3, padding=1).requires_grad_(False)

        def forward(self, images):
            return self.second(self.first(images))

        def parts(self, size_px):
            return [self.first, self.second]

    whole = Placed(Split(), shift_px)
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    window = visible_window(whole, 40, CPU)
    assert window.high - window.low < 40
    seen = images[:, :, window.low : window.high, window.low : window.high]
    inside = window.activation(parts_of(whole, 40), seen)
    assert torch.allclose(inside, centre_activation(whole(images)), atol=1e-5)


def test_a_patch_like_an_icon_gives_the_activation_of_its_position():
    layer = of_patch(8, stride=8)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    shown = placed(layer, 32, CPU)
    top, left = window_like_icon((3, 4), (8, 8), 64, (4, 4), 32, shift_px_of(shown))
    patch = image[:, :, top : top + 32, left : left + 32]
    assert torch.allclose(centre_activation(shown(patch))[0], layer(image)[0, :, 3, 4], atol=1e-5)


def test_an_icon_has_its_structure_in_the_middle():
    layer = of_patch(8, stride=8)
    settings = InversionSettings(size_px=32, steps=24, vignette=1.0)

    def centre_of_contrast(feature_map):
        icons = invert(feature_map, torch.eye(8)[:4], range(4), settings).images.numpy().astype(float)
        contrast = (np.square(icons - 127.5)).sum((0, 3))
        places = np.arange(32) + 0.5
        return [float(contrast.sum(axis) @ places / contrast.sum()) for axis in (1, 0)]

    assert centre_of_contrast(layer) == [pytest.approx(20, abs=1)] * 2
    assert centre_of_contrast(placed(layer, 32, CPU)) == [pytest.approx(16, abs=1)] * 2


def test_a_move_back_restores_all_but_the_edge():
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(moved(moved(images, 2), -2)[..., :-2, :-2], images[..., :-2, :-2])
    assert moved(images, 0) is images
