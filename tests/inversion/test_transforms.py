import dataclasses
import math

import torch
import torch.nn.functional as F

from atlas_pipeline.inversion import InversionSettings, fourier, schedule, transforms

STILL = InversionSettings(
    size_px=10,
    canvas_scale=2,
    steps=4,
    rotation_degrees=0,
    zoom_min=1,
    zoom_max=1,
    shift=0,
    settle=0,
    still=0,
)


def noise_canvas(settings: InversionSettings) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, settings.canvas_px, settings.canvas_px, generator=generator)


def test_without_transforms_the_network_sees_the_finished_icon():
    canvas = noise_canvas(STILL)
    seen = transforms.apply_transforms(
        canvas, transforms.draw_transforms([1, 2], STILL, 4)[:, 0], transforms.icon_points(10)
    )
    torch.testing.assert_close(seen, fourier.middle(canvas, 10), atol=1e-5, rtol=0)


def test_the_last_steps_have_settled():
    settings = dataclasses.replace(
        InversionSettings(size_px=10, canvas_scale=2), steps=80, settle=0.0375, still=0.5
    )
    maps = transforms.draw_transforms([1, 2], settings, 4)
    still = transforms.draw_transforms([1, 2], dataclasses.replace(STILL, steps=80), 4)
    torch.testing.assert_close(maps[:, -1], still[:, -1])
    strength = schedule.strengths(settings).tolist()
    assert strength == [1] * 37 + [0.75, 0.5, 0.25] + [0] * 40


def test_a_short_run_has_no_transforms_at_all():
    assert schedule.strengths(InversionSettings(steps=24)).tolist() == [0] * 24
    assert schedule.strengths(InversionSettings(steps=26, settle=0))[:3].tolist() == [1, 1, 0]


def test_a_shift_moves_by_whole_pixels():
    canvas = noise_canvas(STILL)
    size_px = STILL.canvas_px
    maps = transforms.draw_transforms([1, 2], STILL, 4)[:, 0]
    maps[:, 0, 2] += 2 * 2 / size_px
    seen = transforms.apply_transforms(canvas, maps, transforms.icon_points(10))
    edge = (size_px - 10) // 2
    torch.testing.assert_close(seen, canvas[:, :, edge : edge + 10, edge + 2 : edge + 12], atol=1e-5, rtol=0)


def test_draws_keep_their_ranges():
    settings = InversionSettings(
        size_px=10, steps=500, rotation_degrees=30, zoom_min=0.5, zoom_max=2, shift=0.5, settle=0, still=0
    )
    maps = transforms.draw_transforms(range(4), settings, 5)
    share = 10 / settings.canvas_px
    zoom = share / torch.linalg.vector_norm(maps[..., 0, :2], dim=-1)
    assert 0.5 <= zoom.min() < 0.55
    assert 1.9 < zoom.max() <= 2.0
    angle = torch.atan2(maps[..., 1, 0], maps[..., 0, 0]) * 180 / math.pi
    assert 29 < angle.abs().max() <= 30
    assert abs(angle.mean()) < 2
    assert 0.099 < maps[..., 2].abs().max() / (2 * share) <= 0.1


def test_a_shift_is_never_more_than_a_share_of_the_icon():
    settings = InversionSettings(size_px=10, steps=500, shift=0.5, settle=0, still=0)
    share = 10 / settings.canvas_px
    maps = transforms.draw_transforms([1], settings, map_side=1)
    assert 0.119 < maps[..., 2].abs().max() / (2 * share) <= 0.12001


def test_each_icon_has_its_own_draws_and_keeps_them():
    settings = InversionSettings(size_px=10, steps=60)
    together = transforms.draw_transforms([1, 2], settings, 4)
    assert not torch.equal(together[0], together[1])
    assert torch.equal(together[1:], transforms.draw_transforms([2], settings, 4))


def test_a_view_and_its_gradient_equal_torchs_own_to_the_bit():
    settings = InversionSettings(size_px=10, steps=60)
    maps = transforms.draw_transforms([1, 2], settings, 4)[:, 0]
    ours, torchs = (noise_canvas(settings).requires_grad_() for _ in range(2))
    points = F.affine_grid(maps, [2, 1, 10, 10], align_corners=False)[:, 3:8, 3:8]
    want = F.grid_sample(torchs, points, padding_mode="reflection", align_corners=False)
    found = transforms.apply_transforms(ours, maps, transforms.icon_points(10), 3, 8)
    assert torch.equal(found, want)
    slope = torch.rand(want.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        torch.autograd.grad(found, ours, slope)[0], torch.autograd.grad(want, torchs, slope)[0]
    )
