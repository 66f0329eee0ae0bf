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
    canvas = fourier.colours(fourier.planes(coefficients, weights), fourier.colour_mix(1.0), 1.0)
    red = torch.logit(canvas[0, 0].double()) / fourier.COLOUR_MIX[0, 0].double()
    torch.testing.assert_close(red, want, atol=1e-5, rtol=1e-4)


def test_pixels_and_their_gradient_do_not_depend_on_the_number_of_threads():
    planes = torch.randn(5, 4, 77, 77, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def pixels_and_gradient(num_threads: int) -> list[torch.Tensor]:
        torch.set_num_threads(num_threads)
        pixels = fourier.colours(planes, fourier.colour_mix(4.0), 4.0)
        return [pixels, *torch.autograd.grad((pixels**2).sum(), planes)]

    before = torch.get_num_threads()
    try:
        assert all(map(torch.equal, pixels_and_gradient(1), pixels_and_gradient(3)))
    finally:
        torch.set_num_threads(before)


def test_pixel_variance_at_the_start_does_not_depend_on_the_canvas_size():
    sds = []
    for size_px in (32, 128):
        settings = InversionSettings(size_px=size_px, canvas_scale=1.0, spectrum_falloff=0.0)
        start = fourier.start_coefficients(range(16), settings)
        planes = fourier.planes(start, fourier.spectrum_weights(settings))
        canvas = fourier.colours(planes, fourier.colour_mix(1.0), 1.0)
        sds.append(torch.logit(canvas).std().item())
    assert sds[0] == pytest.approx(sds[1], rel=0.03)


def test_weights_fall_with_frequency_and_end_before_the_corner():
    settings = InversionSettings(size_px=32, canvas_scale=1.0, spectrum_falloff=1, spectrum_cutoff=0.25)
    weights = fourier.spectrum_weights(settings)
    along = weights[0]
    assert (along[1:] <= along[:-1]).all()
    assert weights[fourier.frequencies(32, 32) >= 0.375].max() < 1e-6
    assert along[2] == pytest.approx(settings.spectrum_gain * 16)
    assert along[0] == along[1]


def test_the_icon_is_the_exact_middle_of_the_canvas():
    settings = InversionSettings(size_px=15, canvas_scale=1.5)
    size_px = settings.canvas_px
    canvas = torch.arange(size_px).float().expand(1, 3, size_px, size_px)
    columns = fourier.middle(canvas, 15)[0, 0, 0]
    assert columns[0] - 0 == (size_px - 1) - columns[-1]
    assert len(columns) == 15


def free_coefficients(size_px: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size_px)
    return torch.randn(2, 3, size_px, size_px // 2 + 1, 2, generator=generator)


@pytest.mark.parametrize("size_px", [1, 2, 3, 8, 9, 50])
def test_planes_and_their_gradient_equal_torchs_own_to_the_bit(size_px):
    weights = torch.rand(3, size_px, size_px // 2 + 1, generator=torch.Generator().manual_seed(1))
    ours, torchs = (free_coefficients(size_px).requires_grad_() for _ in range(2))
    spectrum = torch.view_as_complex(torchs * weights[..., None])
    want = torch.fft.irfft2(spectrum, s=(size_px, size_px), norm="ortho")
    found = fourier.planes(ours, weights)
    assert torch.equal(found, want)
    slope = torch.randn(want.shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(
        torch.autograd.grad(found, ours, slope)[0], torch.autograd.grad(want, torchs, slope)[0]
    )


@pytest.mark.parametrize("size_px", [(5, 8), (8, 5), (1, 6), (7, 1)])
def test_planes_of_a_rectangle_and_their_gradient_equal_torchs_own(size_px):
    generator = torch.Generator().manual_seed(5)
    shape = (size_px[0], size_px[1] // 2 + 1)
    weights = fourier.spectrum_weights(InversionSettings(), size_px)
    assert weights.shape == shape
    ours = torch.randn(1, 3, *shape, 2, generator=generator).requires_grad_()
    torchs = ours.detach().clone().requires_grad_()
    want = torch.fft.irfft2(torch.view_as_complex(torchs * weights[..., None]), s=size_px, norm="ortho")
    found = fourier.planes(ours, weights, width_px=size_px[1])
    torch.testing.assert_close(found, want)
    slope = torch.randn(want.shape, generator=generator)
    torch.testing.assert_close(
        torch.autograd.grad(found, ours, slope)[0], torch.autograd.grad(want, torchs, slope)[0]
    )


@pytest.mark.parametrize("size_px", [1, 2, 9, 10])
def test_the_real_transform_gets_a_spectrum_that_is_defined(size_px, monkeypatch):
    """FFT libraries may read the imaginary part of the columns that mirror themselves."""
    seen = []
    irfft = torch.fft.irfft
    monkeypatch.setattr(
        torch.fft, "irfft", lambda half, **others: (seen.append(half), irfft(half, **others))[1]
    )
    fourier.planes(free_coefficients(size_px), torch.ones(3, size_px, size_px // 2 + 1))
    (half,) = seen
    own_mirrors = {0, size_px // 2} if size_px % 2 == 0 else {0}
    for column in range(size_px // 2 + 1):
        assert bool((half[..., column].imag == 0).all()) == (column in own_mirrors)


def test_the_gradient_of_a_crop_is_that_of_a_slice():
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(fourier.crop(images, 2, 8), images[:, :, 2:8, 2:8])
    slope = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    found, want = (
        torch.autograd.grad(part, images, slope)[0]
        for part in (fourier.crop(images, 2, 8), images[:, :, 2:8, 2:8])
    )
    assert torch.equal(found, want)


def test_an_icon_s_start_does_not_depend_on_how_many_are_drawn_together(monkeypatch):
    settings = InversionSettings(size_px=8)
    together = fourier.start_coefficients([3, 1, 4], settings, 4)
    monkeypatch.setattr(fourier, "_NUMBERS_TOGETHER_CPU", 1)
    assert torch.equal(together, fourier.start_coefficients([3, 1, 4], settings, 4))
    assert torch.equal(together[1:2], fourier.start_coefficients([1], settings, 4))
    assert together.std() == pytest.approx(settings.start_sd, rel=0.05)
