"""State and optimiser step of the icons that are optimised together.

Icons are independent: an icon is a function of its goal, its seed and its start image, not of its batch.
Only `IconBatch.done` waits for the device.
B = icon in the batch, T = step, P = plane, C = canvas side, F = C // 2 + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.inversion import fourier, schedule, transforms
from atlas_pipeline.inversion.arithmetic import arithmetic
from atlas_pipeline.inversion.canvas import Canvas, composite
from atlas_pipeline.inversion.objectives import Objective
from atlas_pipeline.inversion.settings import InversionSettings

# Restart patterns are scaled by 1 to 64 times: 64 times start_sd (0.64) matches the scale of finished icons.
_NUM_RESTART_STRENGTHS = 7
_TINY = 1e-8
# Smaller increases do not count: at fidelity 0.95 and the default power, it equals 0.001 of fidelity.
MIN_IMPROVEMENT = 0.0084


@dataclass(slots=True)
class IconBatch:
    """Tensors on the device, with one row per icon."""

    which: Tensor
    """(B,) int64: index of the icon in the objective."""
    coefficients: Tensor
    """(B, P, C, F, 2) float32; the two moments of its gradient have the same shape."""
    first_moment: Tensor
    second_moment: Tensor
    pattern: Tensor
    """(B, P, C, F, 2): the icon's random initial coefficients; restarts it if its gradient is zero."""
    maps: Tensor
    """(B, T, 2, 3): the transform of every step."""
    background: Tensor
    """(B, 3, C, C): planes behind transparent icons; (B, 0) for opaque ones."""
    background_maps: Tensor
    age: Tensor
    """(B,) int64: steps taken."""
    stopped: Tensor
    """(B,) bool: stopped early by `patience`."""
    best: Tensor
    """(B,) float32: highest objective since the transforms ended."""
    best_age: Tensor
    steps_since_join: int = 0
    """Steps since the last icon was added; kept on the host, so that reading it does not wait."""

    def selected(self, rows: Tensor) -> IconBatch:
        """Select icons by index or mask."""
        selected: dict[str, Any] = {name: getattr(self, name)[rows] for name in _TENSORS}
        return replace(self, **selected)

    def appended(self, other: IconBatch) -> IconBatch:
        """Append new icons to these."""
        appended: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _TENSORS
        }
        return IconBatch(**appended)


_TENSORS = tuple(field.name for field in fields(IconBatch) if field.name != "steps_since_join")


class Optimizer:
    """Steps batches of icons; one instance serves all batches of a call."""

    def __init__(
        self, objective: Objective, settings: InversionSettings, canvas: Canvas, device: torch.device
    ) -> None:
        self._objective, self._settings, self._canvas, self._device = objective, settings, canvas, device
        self._window = objective.window(settings.size_px)
        self._learning_rates = schedule.learning_rates(settings).to(device)
        self._first_still = schedule.first_still_step(settings)

    def new_batch(self, which: Sequence[int], seeds: Sequence[int], start: Tensor | None) -> IconBatch:
        """Icons before their first step. start: (B, S, S, P) uint8; None: random initial coefficients."""
        device, settings, num = self._device, self._settings, len(which)
        pattern = self._canvas.start(seeds)
        coefficients = pattern if start is None else self._canvas.start_from(start)
        maps = transforms.draw_transforms(seeds, settings, self._window.map_side).to(device)
        background, background_maps = torch.empty(num, 0, device=device), torch.empty(num, 0, device=device)
        if settings.alpha:
            background = self._canvas.background(seeds)
            background_maps = transforms.draw_background_transforms(seeds, settings).to(device)
        return IconBatch(
            which=torch.as_tensor(which, device=device),
            coefficients=coefficients.clone(),
            first_moment=torch.zeros_like(coefficients),
            second_moment=torch.zeros_like(coefficients),
            pattern=pattern,
            maps=maps,
            background=background,
            background_maps=background_maps,
            age=torch.zeros(num, dtype=torch.int64, device=device),
            stopped=torch.zeros(num, dtype=torch.bool, device=device),
            best=torch.full((num,), -torch.inf, device=device),
            best_age=torch.zeros(num, dtype=torch.int64, device=device),
        )

    def step(self, batch: IconBatch) -> None:
        """Take one step with every unfinished icon; finished icons stay unchanged."""
        active = ~batch.stopped & (batch.age < self._settings.steps)
        age = batch.age.clamp(max=self._settings.steps - 1)
        scores, gradient = self._gradient(batch, age)
        largest = gradient.flatten(1).abs().amax(1)
        has_gradient = (torch.isfinite(largest) & (largest > 0)).view(-1, 1, 1, 1, 1)
        gradient = torch.where(has_gradient, gradient, 0.0)
        batch.first_moment.lerp_(gradient, 1 - schedule.FIRST_MEMORY)
        batch.second_moment.lerp_(gradient.square(), 1 - self._settings.adam_memory)
        rate, correction = (self._learning_rates[age] * active[:, None]).view(-1, 2, 1, 1, 1, 1).unbind(1)
        root = batch.second_moment.sqrt().mul_(correction).add_(_TINY)
        batch.coefficients.sub_(batch.first_moment.div(root).mul_(rate))
        needs_restart = ~has_gradient & active.view_as(has_gradient)
        # `any` is free on a CPU; on a GPU it would wait for the device and cost more than the restart itself.
        if self._device.type != "cpu" or bool(needs_restart.any()):
            batch.coefficients = torch.where(needs_restart, _restart_pattern(batch), batch.coefficients)
        self._stop_stalled(batch, scores)
        batch.age += active
        batch.steps_since_join += 1

    def _gradient(self, batch: IconBatch, age: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the gradient of their negative sum with respect to the coefficients."""
        coefficients = batch.coefficients.detach().requires_grad_()
        seen, opacity = self._network_input(batch, age, coefficients)
        with arithmetic(self._settings.arithmetic, self._device):
            scores = self._objective(seen, batch.which)
        rewarded = scores
        if opacity is not None:
            # Logarithm of the mean transparency: a factor becomes a summand, as in the objective.
            rewarded = scores + self._settings.alpha * torch.log1p(-opacity.mean((1, 2, 3)))
        (gradient,) = torch.autograd.grad(-rewarded.sum(), coefficients)
        return scores.detach(), gradient

    def _network_input(
        self, batch: IconBatch, age: Tensor, coefficients: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Network input (B, 3, side, side), and the opacity of the whole icon (None without alpha)."""
        size_px, part = self._settings.size_px, slice(self._window.low, self._window.high)
        # Opacity is rewarded over the whole icon, including the part outside the visible window.
        region = part if not self._settings.alpha else slice(0, size_px)
        rows = torch.arange(len(age), device=age.device)
        planes = self._canvas.planes(coefficients)
        if batch.steps_since_join >= self._first_still:
            transformed = fourier.middle(planes, size_px)[:, :, region, region]
        else:
            maps = batch.maps[rows, age]
            transformed = transforms.apply_transforms(planes, maps, size_px, region.start, region.stop)
        # Convert to colours after the transform: it returns fewer pixels than the canvas has.
        pixels = self._canvas.colours(transformed)
        if not self._settings.alpha:
            return pixels, None
        background = transforms.apply_transforms(batch.background, batch.background_maps[rows, age], size_px)
        return composite(pixels, self._canvas.colours(background))[:, :, part, part], pixels[:, 3:]

    def _stop_stalled(self, batch: IconBatch, scores: Tensor) -> None:
        """Stop icons whose objective has not risen for `patience` steps."""
        if self._settings.patience is None:
            return
        watched = batch.age >= self._first_still
        risen = ~watched | (scores > batch.best + MIN_IMPROVEMENT)
        batch.best = torch.where(watched & risen, scores, batch.best)
        batch.best_age = torch.where(risen, batch.age, batch.best_age)
        batch.stopped |= batch.age - batch.best_age >= self._settings.patience

    def done(self, batch: IconBatch) -> Tensor:
        """(B,) bool on the CPU: whether each icon is finished. Waits for the device."""
        return (batch.stopped | (batch.age >= self._settings.steps)).cpu()


def _restart_pattern(batch: IconBatch) -> Tensor:
    """A new starting point for icons whose gradient is zero: the initial pattern rolled, negated and scaled.

    The gradient is exactly zero if a ReLU blocks the whole signal. The negated pattern often passes where the
    pattern does not. Each step tries another shift, sign and strength, from weak to strong.
    """
    side = batch.pattern.shape[2]
    rows = torch.arange(side, device=batch.age.device)
    rolled_rows = (rows[None, :] - batch.age[:, None]) % side
    pattern = batch.pattern.gather(2, rolled_rows[:, None, :, None, None].expand_as(batch.pattern))
    strength = (-1.0) ** batch.age * 2.0 ** (batch.age // 2 % _NUM_RESTART_STRENGTHS)
    return pattern * strength.view(-1, 1, 1, 1, 1)
