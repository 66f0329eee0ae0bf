import math

import pytest
import torch

from atlas_pipeline.inversion.objective import (
    Goals,
    centre_activation,
    centre_position,
    direction_score,
    metric_root,
)


@pytest.mark.parametrize(("side", "centre"), [(1, 0), (2, 1), (7, 3), (8, 4)])
def test_centre(side, centre):
    assert centre_position(side, side + 1) == (centre, (side + 1) // 2)
    maps = torch.arange(side * side).view(1, 1, side, side)
    assert centre_activation(maps).item() == centre * side + centre


def test_value_is_the_article_s_formula():
    h, v = torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])
    # The log of (h.v)^(n+1) / (|h| |v|)^n / v.v, where h.v = 6, |h| |v| = 10 and v.v = 4.
    want = math.log(6**3 / 10**2 / 4)
    assert direction_score(h, v, "cosine_power", 2.0).item() == pytest.approx(want, rel=1e-6)
    assert direction_score(h, v, "dot", 2.0).item() == pytest.approx(math.log(6 / 4), rel=1e-6)
    assert direction_score(h, v, "cosine", 2.0).item() == pytest.approx(math.log(6 / 10), rel=1e-6)


def test_strength_of_a_direction_does_not_change_its_gradient():
    h = torch.tensor([[1.0, 2.0]], requires_grad=True)
    v = torch.tensor([[2.0, 1.0]])
    (weak,) = torch.autograd.grad(direction_score(h, v, "cosine_power", 4.0).sum(), h)
    (strong,) = torch.autograd.grad(direction_score(h, 5 * v, "cosine_power", 4.0).sum(), h)
    torch.testing.assert_close(weak, strong)


@pytest.mark.parametrize("h", [[1.0, 2.0, 0.5], [-1.0, 0.2, 0.1], [0.01, 0.0, 0.0], [0.3, -0.3, 2.0]])
def test_gradient_equals_finite_differences(h):
    v = torch.tensor([[0.5, 1.0, 0.1]], dtype=torch.float64)
    h = torch.tensor([h], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: direction_score(h, v, "cosine_power", 6.0), (h,))


def automatic_score(h: torch.Tensor, v: torch.Tensor, kind: str, power: float) -> torch.Tensor:
    """The formula, whose gradient torch derives by itself."""

    def log_or_tangent(values):
        line = values / 0.05 - 1.0 + math.log(0.05)
        return torch.where(values > 0.05, values.clamp(min=0.05).log(), line)

    dot, squared = (h * v).sum(1), v.square().sum(1)
    lengths = torch.sqrt((h.square().sum(1) * squared).clamp(min=1e-12 * squared.square()))
    strength, cosine = log_or_tangent(dot / squared), log_or_tangent(dot / lengths)
    return {"dot": strength, "cosine": cosine, "cosine_power": strength + power * cosine}[kind]


@pytest.mark.parametrize("kind", ["cosine_power", "cosine", "dot"])
def test_the_gradient_written_out_equals_the_automatic_one_to_the_bit(kind):
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(5, 33, generator=generator)
    which = torch.tensor([4, 0, 0, 2, 1, 3])
    h = torch.randn(6, 33, generator=generator) * 3
    # A gradient that starts at zero, a positive projection, and one that is shorter than the root's floor.
    h[0], h[1], h[2] = 0.0, v[0] * 0.7, v[0] * 1e-8
    ours, automatic = (h.clone().requires_grad_() for _ in range(2))
    found = Goals(v, kind, 7.3).scores(ours, which)
    want = automatic_score(automatic, v[which], kind, 7.3)
    assert torch.equal(found, want)
    slope = torch.linspace(-2, 1, 6)
    assert torch.equal(
        torch.autograd.grad(found, ours, slope)[0], torch.autograd.grad(want, automatic, slope)[0]
    )


def test_below_zero_it_still_climbs():
    v = torch.tensor([[1.0, 1.0]])
    h = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [-1e3, 0.0]], requires_grad=True)
    scores = direction_score(h, v.expand(3, 2), "cosine_power", 6.0)
    (slope,) = torch.autograd.grad(scores.sum(), h)
    assert torch.isfinite(scores).all()
    assert torch.isfinite(slope).all()
    assert ((slope * v).sum(1) > 0).all()


def test_icons_do_not_touch_each_other():
    h = torch.tensor([[1.0, 2.0], [float("nan"), 1.0]], requires_grad=True)
    scores = direction_score(h, torch.ones(2, 2), "cosine_power", 6.0)
    (slope,) = torch.autograd.grad(scores.sum(), h)
    assert torch.isfinite(slope[0]).all()


def test_metric_root_turns_whitened_cosines_into_plain_ones():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(50, 4, generator=generator) * torch.tensor([1.0, 2.0, 5.0, 0.1])
    precision = torch.linalg.inv(samples.T @ samples / 50)
    root = metric_root(precision)
    h, v = samples[:2]
    torch.testing.assert_close((h @ root) @ (v @ root), h @ precision @ v, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "word"),
    [
        (torch.ones(2, 3), "shape"),
        (torch.full((2, 2), float("nan")), "finite"),
        (torch.diag(torch.tensor([1.0, -1.0])), "semi-definite"),
    ],
)
def test_metric_root_refuses(precision, word):
    with pytest.raises(ValueError, match=word):
        metric_root(precision)
