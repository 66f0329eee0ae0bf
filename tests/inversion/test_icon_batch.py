"""The optimiser's step: warm icons draw no noise; batches shrink to few sizes on a GPU."""

import dataclasses

import pytest
import torch
from torch import nn

from atlas_pipeline.inversion import Direction, InversionSettings, invert
from atlas_pipeline.inversion.canvas import Canvas
from atlas_pipeline.inversion.captured_step import Stepper
from atlas_pipeline.inversion.icon_batch import Optimizer

GREY = torch.full((3, 16, 16, 3), 128, dtype=torch.uint8)


def deaf(images: torch.Tensor) -> torch.Tensor:
    """A ReLU map that is zero on grey images, so that they have no gradient."""
    conv = nn.Conv2d(3, 8, 5, padding=2).requires_grad_(False)
    nn.init.normal_(conv.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    nn.init.constant_(conv.bias, -1.2)
    return conv(images - 0.5).relu()


def test_a_warm_icon_draws_neither_noise_nor_transforms(feature_map, directions, settings, monkeypatch):
    cold = invert(feature_map, directions, range(6), settings)

    def drawn(*_: object) -> None:
        raise AssertionError("a warm icon needs no random numbers")

    monkeypatch.setattr(Canvas, "start", drawn)
    monkeypatch.setattr("atlas_pipeline.inversion.random_streams.uniform", drawn)
    warm = invert(feature_map, directions, range(6), settings, start=cold.images)
    assert warm.fidelity.median() > cold.fidelity.median() - 0.01


@pytest.mark.parametrize("patience", [None, 20])
def test_a_warm_icon_without_a_gradient_restarts_from_its_own_noise(monkeypatch, patience):
    settings = InversionSettings(size_px=16, warm_steps=40, patience=patience)
    directions = torch.eye(8)[:3] + 0.2
    noise = torch.rand(1, 16, 16, 3, generator=torch.Generator().manual_seed(0)) * 255
    start = torch.cat([GREY[:2], noise.to(torch.uint8)])

    def icons():
        return invert(deaf, directions, [1, 2, 3], settings, start=start, batch_size=2)

    drawn_when_needed = icons()
    assert (drawn_when_needed.activation[:2] != 0).any(1).all()
    begin = Optimizer.__init__

    def draw_always(self, *arguments):
        begin(self, *arguments)
        self._draws_patterns = True

    monkeypatch.setattr(Optimizer, "__init__", draw_always)
    assert torch.equal(drawn_when_needed.images, icons().images)


def test_finished_icons_stay_unchanged(feature_map, directions, settings):
    cpu = torch.device("cpu")
    optimizer = Optimizer(Direction(feature_map, directions), settings, Canvas(settings, cpu), cpu)
    batch = optimizer.new_batch(range(6), range(6), None)
    batch.num_steps[2] = 3
    for _ in range(3):
        optimizer.step(batch)
    before = batch.coefficients.clone()
    optimizer.step(batch)
    assert torch.equal(batch.coefficients[2], before[2])
    assert not torch.equal(batch.coefficients[1], before[1])
    assert batch.age.tolist() == [4, 4, 3, 4, 4, 4]
    assert optimizer.done(batch) == [False, False, True, False, False, False]


def test_a_stopped_icon_stays_stopped_when_its_objective_rises_later(feature_map, directions, settings):
    cpu, settings = torch.device("cpu"), dataclasses.replace(settings, steps=60, patience=3)
    optimizer = Optimizer(Direction(feature_map, directions), settings, Canvas(settings, cpu), cpu)
    batch = optimizer.new_batch(range(6), range(6), None)
    batch.age[:], batch.best_age[:], batch.best[:] = 50, 49, -1e9
    # Its objective rose last at age 46, so that patience stopped it at age 50.
    batch.best_age[2], batch.num_steps[2] = 46, 50
    for _ in range(2):
        optimizer.step(batch)
    assert batch.age.tolist() == [52, 52, 50, 52, 52, 52]


def stepper(captures: bool) -> Stepper:
    made = Stepper.__new__(Stepper)
    made._captures = captures
    return made


@pytest.mark.parametrize(
    ("active", "num_waiting", "num_rows"),
    [
        ([1, 1, 0, 1, 1, 1, 1, 1], 0, 8),
        ([1, 1, 0, 1, 1, 1, 1, 1], 1, 7),
        ([1, 1, 0, 0, 0, 1, 1, 1], 1, 7),
        ([1, 1, 0, 0, 0, 1, 1, 1], 9, 5),
        ([0, 1, 0, 0, 0, 1, 1, 1], 0, 4),
        ([0, 1, 0, 0, 0, 0, 1, 1], 0, 4),
        ([0, 1, 0, 0, 0, 0, 1, 1], 1, 3),
        ([0, 0, 0, 0, 0, 0, 0, 1], 0, 1),
        ([0, 0, 1, 0], 0, 1),
    ],
)
def test_a_gpu_s_batch_has_one_of_a_few_sizes(active, num_waiting, num_rows):
    done = [not is_active for is_active in active]
    kept = stepper(captures=True).kept_rows(done, num_waiting, batch_size=8)
    assert len(kept) == num_rows == len(set(kept))
    assert {row for row, is_active in enumerate(active) if is_active} <= set(kept)
    # On a CPU only unfinished icons stay.
    on_cpu = stepper(captures=False).kept_rows(done, num_waiting, batch_size=8)
    assert on_cpu == [row for row, is_active in enumerate(active) if is_active]
