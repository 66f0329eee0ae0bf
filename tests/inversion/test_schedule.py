import dataclasses

import pytest
import torch

from atlas_pipeline.inversion import InversionSettings, schedule


def test_learning_rates_are_those_of_torchs_adam():
    """torch's Adam gets equal gradients, with its learning rate set by hand at every step."""
    settings = InversionSettings(steps=7, learning_rate=0.1, schedule="cosine")
    gradients = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    theirs = torch.zeros(5, requires_grad=True)
    optimizer = torch.optim.Adam([theirs], lr=0.1, betas=(schedule.FIRST_MEMORY, settings.adam_memory))
    ours, first, second = torch.zeros(5), torch.zeros(5), torch.zeros(5)
    shares = [0.5 + 0.5 * torch.cos(torch.tensor(torch.pi * step / 7)).item() for step in range(7)]
    for gradient, (pace, correction), share in zip(
        gradients, schedule.learning_rates(settings).tolist(), shares, strict=True
    ):
        optimizer.param_groups[0]["lr"] = 0.1 * share
        theirs.grad = gradient.clone()
        optimizer.step()
        first.lerp_(gradient, 1 - schedule.FIRST_MEMORY)
        second.lerp_(gradient.square(), 1 - settings.adam_memory)
        ours -= pace * first / (second.sqrt() * correction + 1e-8)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-6)


def test_the_fewer_the_steps_the_larger():
    assert InversionSettings(steps=100).rate == pytest.approx(0.025)
    assert InversionSettings(steps=16).rate == pytest.approx(0.0625)
    assert InversionSettings(steps=16, image="maco").rate == pytest.approx(0.15)
    assert InversionSettings(steps=16, learning_rate=0.3).rate == 0.3


def test_a_warm_run_is_short_still_and_at_the_cold_rates():
    settings = InversionSettings(steps=100, warm_steps=25)
    warm = schedule.warm_settings(settings)
    assert warm.steps == 25
    assert warm.rate == settings.rate
    assert schedule.first_still_step(warm) == 0
    assert schedule.strengths(warm).tolist() == [0.0] * 25


def test_without_warm_steps_there_is_no_warm_run():
    with pytest.raises(ValueError, match="warm_steps is null"):
        schedule.warm_settings(dataclasses.replace(InversionSettings(), warm_steps=None))
