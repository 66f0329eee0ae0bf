import math

import pytest
import torch

from atlas_pipeline.inversion import InversionSettings, fourier


def naive_plane(coefficients: torch.Tensor, size_px: int) -> torch.Tensor:
    """Sum the waves one by one; the missing half of the spectrum is the mirrored complex conjugate."""
    plane = torch.zeros(size_px, size_px, dtype=torch.float64)
    ys, xs = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    for row in range(size_px):
        for col in range(size_px // 2 + 1):
            real, imaginary = coefficients[row, col].tolist()
            angle = 2 * math.pi * (row * ys + col * xs) / size_px
            mirrored = 1 if col == 0 or 2 * col == size_px else 2
            plane += mirrored * (real * torch.cos(angle) - imaginary * torch.sin(angle))
    return plane / size_px


@pytest.mark.parametrize("size_px", [8, 9])
def test_planes_equal_the_sum_of_waves(size_px):
    settings = InversionSettings(size_px=size_px, canvas_scale=1.0, start_sd=1.0)
    coefficients = fourier.start_coefficients([5], settings)
    weights = fourier.spectrum_weights(settings)
    # Only the spectrum of a real image has a unique sum of waves, so use the spectrum of a real plane.
    plane = torch.fft.irfft2(torch.view_as_complex(coefficients[0, 0]), s=(size_px, size_px), norm="ortho")
    coefficients[0, 0] = torch.view_as_real(torch.fft.rfft2(plane, norm="ortho"))
    coefficients[0, 1:] = 0
    want = naive_plane((coefficients[0, 0] * weights[..., None]).double(), size_px)
    canvas = fourier.colours(fourier.planes(coefficients, weights), contrast=1.0)
    red = torch.logit(canvas[0, 0].double()) / fourier.COLOUR_MIX[0, 0].double()
    torch.testing.assert_close(red, want, atol=1e-5, rtol=1e-4)


def test_pixel_variance_at_the_start_does_not_depend_on_the_canvas_size():
    sds = []
    for size_px in (32, 128):
        settings = InversionSettings(size_px=size_px, canvas_scale=1.0, spectrum_falloff=0.0)
        start = fourier.start_coefficients(range(16), settings)
        canvas = fourier.colours(fourier.planes(start, fourier.spectrum_weights(settings)), 1.0)
        sds.append(torch.logit(canvas).std().item())
    assert sds[0] == pytest.approx(sds[1], rel=0.03)


def test_weights_fall_with_frequency_and_end_before_the_corner():
    settings = InversionSettings(size_px=32, canvas_scale=1.0, spectrum_falloff=1, spectrum_cutoff=0.25)
    weights = fourier.spectrum_weights(settings)
    along = weights[0]
    assert (along[1:] <= along[:-1]).all()
    assert weights[fourier.frequencies(32) >= 0.375].max() < 1e-6
    assert along[2] == pytest.approx(settings.spectrum_gain * 16)
    assert along[0] == along[1]


def test_the_icon_is_the_exact_middle_of_the_canvas():
    settings = InversionSettings(size_px=15, canvas_scale=1.5)
    size_px = settings.canvas_px
    canvas = torch.arange(size_px).float().expand(1, 3, size_px, size_px)
    columns = fourier.middle(canvas, 15)[0, 0, 0]
    assert columns[0] - 0 == (size_px - 1) - columns[-1]
    assert len(columns) == 15
