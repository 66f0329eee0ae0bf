"""State and optimiser step of the icons that are optimised together.

Icons are independent: an icon is a function of its goal, its seed and its start image, not of its batch.
Only `Optimizer.done` waits for the device.
B = icon in the batch, T = step, P = plane, C = canvas side, F = C // 2 + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.inversion import fourier, schedule, transforms
from atlas_pipeline.inversion.arithmetic import arithmetic
from atlas_pipeline.inversion.canvas import Canvas, composite
from atlas_pipeline.inversion.objectives import Objective
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.models.arithmetic import ieee

# Restart patterns are scaled by 1 to 64 times: 64 times start_sd (0.64) matches the scale of finished icons.
_NUM_RESTART_STRENGTHS = 7
_TINY = 1e-8
# Smaller increases do not count: at fidelity 0.95 and the default power, it equals 0.001 of fidelity.
MIN_IMPROVEMENT = 0.0084


@dataclass(slots=True)
class IconBatch:
    """Icons that are optimised together: lists on the host, and tensors on the device with a row per icon."""

    numbers: list[int]
    """(B,): index of each icon in the objective, as `which`; reading it does not wait for the device."""
    seeds: list[int]
    which: Tensor
    """(B,) int64: index of the icon in the objective."""
    coefficients: Tensor
    """(B, P, C, F, 2) float32; the two moments of its gradient have the same shape."""
    first_moment: Tensor
    second_moment: Tensor
    pattern: Tensor
    """(B, P, C, F, 2): random coefficients that restart an icon whose gradient is zero; (B, 0): not drawn."""
    maps: Tensor
    """(B, T + 1, 2, 3): the transform of each step, and one for finished icons; (B, 0) without transforms."""
    background: Tensor
    """(B, 3, C, C): planes behind transparent icons; (B, 0) for opaque ones."""
    background_maps: Tensor
    age: Tensor
    """(B,) int64: steps taken."""
    num_steps: Tensor
    """(B,) int64: steps to take; fewer than T once `patience` has stopped the icon."""
    best: Tensor
    """(B,) float32: highest objective since the transforms ended."""
    best_age: Tensor
    steps_since_join: int = 0
    """Steps since the last icon was added; kept on the host, so that reading it does not wait."""

    def selected(self, rows: Sequence[int]) -> IconBatch:
        """Select icons by row."""
        index = torch.tensor(rows, device=self.which.device)
        return IconBatch(
            numbers=[self.numbers[row] for row in rows],
            seeds=[self.seeds[row] for row in rows],
            steps_since_join=self.steps_since_join,
            **{name: getattr(self, name)[index] for name in TENSORS},
        )

    def appended(self, other: IconBatch) -> IconBatch:
        """Append new icons to these."""
        appended: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in TENSORS
        }
        return IconBatch(self.numbers + other.numbers, self.seeds + other.seeds, **appended)


TENSORS = tuple(
    field.name for field in fields(IconBatch) if field.name not in ("numbers", "seeds", "steps_since_join")
)


class Optimizer:
    """Steps batches of icons; one instance serves all batches of a call."""

    def __init__(
        self, objective: Objective, settings: InversionSettings, canvas: Canvas, device: torch.device
    ) -> None:
        self._settings, self._canvas, self._device = settings, canvas, device
        self._window = objective.window(settings.size_px)
        if settings.arithmetic == "bfloat16":
            with arithmetic(settings.arithmetic, device):
                objective = objective.in_bfloat16()
        self._objective = objective
        self._first_still = schedule.first_still_step(settings)
        # Opacity is rewarded over the whole icon, including the part outside the visible window.
        whole = 0, settings.size_px
        self._region = whole if settings.alpha else (self._window.low, self._window.high)
        self._edge = (settings.canvas_px - settings.size_px) // 2
        # Everything that a step reads lies on the device: a copy to it would wait.
        self._points = transforms.icon_points(settings.size_px).to(device)
        self._downhill = torch.tensor([-1.0], device=device)
        self._by_age = _values_by_age(settings).to(device)
        self._rolled_rows = _rolled_rows(settings).to(device)
        # On a CPU few icons need a pattern. A GPU cannot tell which ones without waiting, and draws fast.
        self._draws_patterns = device.type != "cpu"

    def new_batch(self, which: Sequence[int], seeds: Sequence[int], start: Tensor | None) -> IconBatch:
        """Icons before their first step. start: (B, S, S, P) uint8; None: random initial coefficients."""
        device, settings, num = self._device, self._settings, len(which)
        nothing = torch.empty(num, 0, device=device)
        pattern = self._canvas.start(seeds) if start is None or self._draws_patterns else nothing
        coefficients = pattern.clone() if start is None else self._canvas.start_from(start)
        maps = background = background_maps = nothing
        if self._first_still:
            maps = _with_last_twice(transforms.draw_transforms(seeds, settings, self._window.map_side))
        if settings.alpha:
            background = self._canvas.background(seeds)
            background_maps = _with_last_twice(transforms.draw_background_transforms(seeds, settings))
        return IconBatch(
            numbers=list(which),
            seeds=list(seeds),
            which=torch.as_tensor(which, device=device),
            coefficients=coefficients,
            first_moment=torch.zeros_like(coefficients),
            second_moment=torch.zeros_like(coefficients),
            pattern=pattern,
            maps=maps.to(device),
            background=background,
            background_maps=background_maps.to(device),
            age=torch.zeros(num, dtype=torch.int64, device=device),
            num_steps=torch.full((num,), settings.steps, device=device),
            best=torch.full((num,), -torch.inf, device=device),
            best_age=torch.zeros(num, dtype=torch.int64, device=device),
        )

    def step(self, batch: IconBatch) -> None:
        """Take one step with every unfinished icon; finished icons stay unchanged."""
        self.update(batch, self.is_still(batch))
        batch.steps_since_join += 1

    def is_still(self, batch: IconBatch) -> bool:
        """Whether the transforms of all icons have ended."""
        return batch.steps_since_join >= self._first_still

    @ieee()
    def update(self, batch: IconBatch, is_still: bool) -> None:
        """Change the batch's tensors in place by one step.

        On a GPU nothing else changes, and nothing is read from the host or by it: a CUDA graph of the
        operations is a step as well.
        """
        active = batch.age < batch.num_steps
        rate, correction, strength = (
            (self._by_age[batch.age] * active[:, None]).view(-1, 3, 1, 1, 1, 1).unbind(1)
        )
        scores, gradient = self._gradient(batch, is_still)
        largest = gradient.flatten(1).abs().amax(1)
        # False for 0, for infinity (0 times infinity is NaN) and for NaN.
        has_gradient = largest * 0 < largest
        gradient.masked_fill_(~_along_coefficients(has_gradient), 0.0)
        batch.first_moment.lerp_(gradient, 1 - schedule.FIRST_MEMORY)
        batch.second_moment.lerp_(gradient.square_(), 1 - self._settings.adam_memory)
        root = batch.second_moment.sqrt().mul_(correction).add_(_TINY)
        batch.coefficients.sub_(torch.div(batch.first_moment, root, out=root).mul_(rate))
        self._restart(batch, active > has_gradient, strength)
        self._watch(batch, active, scores)
        batch.age += active

    def _gradient(self, batch: IconBatch, is_still: bool) -> tuple[Tensor, Tensor]:
        """Scores (B,), and the gradient of their negative sum with respect to the coefficients.

        It is taken in three parts, because only the network runs in the settings' arithmetic.
        """
        coefficients = batch.coefficients.detach().requires_grad_()
        seen, opacity = self._network_input(batch, coefficients, is_still)
        images = seen.detach().requires_grad_()
        with arithmetic(self._settings.arithmetic, self._device):
            outputs = self._objective.outputs(images).float()
        scored = outputs.detach().requires_grad_()
        scores = self._objective.scores(scored, batch.which)
        downhill = self._downhill.expand(len(scores))
        (of_outputs,) = torch.autograd.grad(scores, scored, downhill)
        with arithmetic(self._settings.arithmetic, self._device):
            (of_images,) = torch.autograd.grad(outputs, images, of_outputs)
        ends, gradients = [seen], [of_images]
        if opacity is not None:
            # Logarithm of the mean transparency: a factor becomes a summand, as in the objective.
            ends.append(self._settings.alpha * torch.log1p(-opacity.mean((1, 2, 3))))
            gradients.append(downhill)
        (gradient,) = torch.autograd.grad(ends, coefficients, gradients)
        return scores.detach(), gradient

    def _network_input(
        self, batch: IconBatch, coefficients: Tensor, is_still: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Network input (B, 3, side, side), and the opacity of the whole icon (None without alpha)."""
        planes = self._canvas.planes(coefficients)
        low, high = self._region
        if is_still:
            transformed = fourier.crop(planes, self._edge + low, self._edge + high)
        else:
            transformed = transforms.apply_transforms(
                planes, _at(batch.maps, batch.age), self._points, low, high
            )
        # Convert to colours after the transform: it returns fewer pixels than the canvas has.
        pixels = self._canvas.colours(transformed)
        if not self._settings.alpha:
            return pixels, None
        background = transforms.apply_transforms(
            batch.background, _at(batch.background_maps, batch.age), self._points
        )
        seen = composite(pixels, self._canvas.colours(background))
        return fourier.crop(seen, self._window.low, self._window.high), pixels[:, 3:]

    def _restart(self, batch: IconBatch, needs_restart: Tensor, strength: Tensor) -> None:
        """Give icons whose gradient is zero a new starting point: their pattern rolled, negated and scaled.

        The gradient is exactly zero if a ReLU blocks the whole signal. The negated pattern often passes where
        the pattern does not. Each step tries another shift, sign and strength, from weak to strong.
        """
        # `any` is free on a CPU; on a GPU it would wait for the device and cost more than the restart itself.
        if self._device.type == "cpu":
            if not needs_restart.any():
                return
            if batch.pattern.shape[1] == 0:
                batch.pattern, self._draws_patterns = self._canvas.start(batch.seeds), True
        rows = self._rolled_rows[batch.age][:, None, :, None, None].expand_as(batch.pattern)
        restarted = batch.pattern.gather(2, rows).mul_(strength)
        needs_restart = _along_coefficients(needs_restart)
        torch.where(needs_restart, restarted, batch.coefficients, out=batch.coefficients)

    def _watch(self, batch: IconBatch, active: Tensor, scores: Tensor) -> None:
        """Stop icons whose objective has not risen for `patience` steps."""
        if self._settings.patience is None:
            return
        is_watched = batch.age >= self._first_still
        rises = scores > batch.best + MIN_IMPROVEMENT
        torch.where(rises & is_watched, scores, batch.best, out=batch.best)
        # As long as an icon is not watched, its patience does not run.
        rises_or_unwatched = rises >= is_watched
        torch.where(rises_or_unwatched & active, batch.age, batch.best_age, out=batch.best_age)
        torch.clamp(
            batch.best_age + (self._settings.patience + 1), max=self._settings.steps, out=batch.num_steps
        )

    def done(self, batch: IconBatch) -> list[bool]:
        """(B,): whether each icon is finished. Waits for the device."""
        return (batch.age >= batch.num_steps).tolist()


def _values_by_age(settings: InversionSettings) -> Tensor:
    """(T + 1, 3) float32: Adam's rate and correction, and the strength of a restart; 0 for finished icons."""
    age = torch.arange(settings.steps)
    strength = (-1.0) ** age * 2.0 ** (age // 2 % _NUM_RESTART_STRENGTHS)
    values = torch.cat([schedule.learning_rates(settings), strength[:, None]], dim=1)
    return torch.cat([values, torch.zeros(1, 3)])


def _rolled_rows(settings: InversionSettings) -> Tensor:
    """(T + 1, C) int64: the rows of a pattern in the order in which a restart at that age reads them."""
    rows, ages = torch.arange(settings.canvas_px), torch.arange(settings.steps + 1)
    return (rows[None, :] - ages[:, None]) % settings.canvas_px


def _with_last_twice(maps: Tensor) -> Tensor:
    """(B, T, 2, 3) -> (B, T + 1, 2, 3): finished icons are at age T."""
    return torch.cat([maps, maps[:, -1:]], dim=1)


def _at(maps: Tensor, age: Tensor) -> Tensor:
    """(B, T + 1, 2, 3), (B,) -> (B, 2, 3): each icon's transform at its age."""
    return maps.gather(1, age.view(-1, 1, 1, 1).expand(-1, 1, 2, 3)).squeeze(1)


def _along_coefficients(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1, 1)
