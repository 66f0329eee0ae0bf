"""The icons that are being made together: their state, one step of all, and who is done.

No icon knows of another, nor of the batch: what it becomes is a function of its goal, its seed and its start.
Nothing here waits for the device but `IconBatch.done`. B = icon in the batch, T = step, P = plane, C = canvas
side, F = C // 2 + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from atlas_pipeline.inversion import fourier, schedule, transforms
from atlas_pipeline.inversion.arithmetic import arithmetic
from atlas_pipeline.inversion.canvas import Canvas, over
from atlas_pipeline.inversion.objectives import Objective
from atlas_pipeline.inversion.settings import InversionSettings

# From the start's own to 64 times: 0.64 of a coefficient's unit is as bold as finished icons are.
_STRENGTHS = 7
_TINY = 1e-8
# A rise below it is none: at a fidelity of 0.95 and the default power it is a thousandth of fidelity.
LEAST_RISE = 0.0084


@dataclass(slots=True)
class IconBatch:
    """Tensors with one row an icon, on the device."""

    which: Tensor
    """(B,) int64, the objective's number of the icon."""
    coefficients: Tensor
    """(B, P, C, F, 2) float32, and below the moments of its gradient."""
    first_moment: Tensor
    second_moment: Tensor
    pattern: Tensor
    """(B, P, C, F, 2), its own cold start: what wakes an icon whose gradient is none."""
    maps: Tensor
    """(B, T, 2, 3), the transforms of every step."""
    ground: Tensor
    """(B, 3, C, C) behind transparent icons; (B, 0) for opaque ones."""
    ground_maps: Tensor
    age: Tensor
    """(B,) int64, steps taken."""
    stopped: Tensor
    """(B,) bool."""
    best: Tensor
    """(B,) float32, the objective's highest value since the transforms came to rest."""
    best_age: Tensor
    youngest: int = 0
    """Steps since the last icon boarded: known without asking the device."""

    def chosen(self, rows: Tensor) -> IconBatch:
        """Some of the icons, by index or mask."""
        chosen: dict[str, Any] = {name: getattr(self, name)[rows] for name in _TENSORS}
        return replace(self, **chosen)

    def joined(self, other: IconBatch) -> IconBatch:
        """These icons, then the others, which have just boarded."""
        joined: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)]) for name in _TENSORS
        }
        return IconBatch(**joined)


_TENSORS = tuple(field.name for field in fields(IconBatch) if field.name != "youngest")


class Optimizer:
    """What takes a batch from step to step: the same for all batches of a call."""

    def __init__(
        self, objective: Objective, settings: InversionSettings, canvas: Canvas, device: torch.device
    ) -> None:
        self._objective, self._settings, self._canvas, self._device = objective, settings, canvas, device
        self._window = objective.window(settings.size_px)
        self._paces = schedule.paces(settings).to(device)
        self._first_still = schedule.first_still_step(settings)

    def new_batch(self, which: Sequence[int], seeds: Sequence[int], start: Tensor | None) -> IconBatch:
        """Icons before their first step. start: (B, S, S, P) uint8, or None: cold."""
        device, settings, num = self._device, self._settings, len(which)
        pattern = self._canvas.start(seeds)
        coefficients = pattern if start is None else self._canvas.start_from(start)
        maps = transforms.draw_transforms(seeds, settings, self._window.map_side).to(device)
        ground, ground_maps = torch.empty(num, 0, device=device), torch.empty(num, 0, device=device)
        if settings.alpha:
            ground = self._canvas.ground(seeds)
            ground_maps = transforms.draw_grounds(seeds, settings).to(device)
        return IconBatch(
            which=torch.as_tensor(which, device=device),
            coefficients=coefficients.clone(),
            first_moment=torch.zeros_like(coefficients),
            second_moment=torch.zeros_like(coefficients),
            pattern=pattern,
            maps=maps,
            ground=ground,
            ground_maps=ground_maps,
            age=torch.zeros(num, dtype=torch.int64, device=device),
            stopped=torch.zeros(num, dtype=torch.bool, device=device),
            best=torch.full((num,), -torch.inf, device=device),
            best_age=torch.zeros(num, dtype=torch.int64, device=device),
        )

    def step(self, batch: IconBatch) -> None:
        """One step of every icon that is not done; the others stay as they are."""
        moving = ~batch.stopped & (batch.age < self._settings.steps)
        age = batch.age.clamp(max=self._settings.steps - 1)
        scores, gradient = self._gradient(batch, age)
        largest = gradient.flatten(1).abs().amax(1)
        alive = (torch.isfinite(largest) & (largest > 0)).view(-1, 1, 1, 1, 1)
        gradient = torch.where(alive, gradient, 0.0)
        batch.first_moment.lerp_(gradient, 1 - schedule.FIRST_MEMORY)
        batch.second_moment.lerp_(gradient.square(), 1 - self._settings.adam_memory)
        pace, correction = (self._paces[age] * moving[:, None]).view(-1, 2, 1, 1, 1, 1).unbind(1)
        root = batch.second_moment.sqrt().mul_(correction).add_(_TINY)
        batch.coefficients.sub_(batch.first_moment.div(root).mul_(pace))
        asleep = ~alive & moving.view_as(alive)
        # On a CPU asking costs nothing; on a GPU it would cost more than doing it for nothing.
        if self._device.type != "cpu" or bool(asleep.any()):
            batch.coefficients = torch.where(asleep, _another_start(batch), batch.coefficients)
        self._watch(batch, scores)
        batch.age += moving
        batch.youngest += 1

    def _gradient(self, batch: IconBatch, age: Tensor) -> tuple[Tensor, Tensor]:
        """(scores (B,), gradient of their negative sum by the coefficients)."""
        coefficients = batch.coefficients.detach().requires_grad_()
        seen, opacity = self._seen(batch, age, coefficients)
        with arithmetic(self._settings.arithmetic, self._device):
            scores = self._objective(seen, batch.which)
        rewarded = scores
        if opacity is not None:
            # The logarithm of the transparent share: as in the objective, a factor becomes a summand.
            rewarded = scores + self._settings.alpha * torch.log1p(-opacity.mean((1, 2, 3)))
        (gradient,) = torch.autograd.grad(-rewarded.sum(), coefficients)
        return scores.detach(), gradient

    def _seen(self, batch: IconBatch, age: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor | None]:
        """(what the network is shown (B, 3, side, side), opacity of the whole icon, None without alpha)."""
        size_px, part = self._settings.size_px, slice(self._window.low, self._window.high)
        # Opacity counts everywhere, be it seen or not.
        looked_at = part if not self._settings.alpha else slice(0, size_px)
        rows = torch.arange(len(age), device=age.device)
        planes = self._canvas.planes(coefficients)
        if batch.youngest >= self._first_still:
            looked = fourier.middle(planes, size_px)[:, :, looked_at, looked_at]
        else:
            maps = batch.maps[rows, age]
            looked = transforms.look(planes, maps, size_px, looked_at.start, looked_at.stop)
        # Colours after the look: it takes fewer pixels than the canvas has.
        pixels = self._canvas.colours(looked)
        if not self._settings.alpha:
            return pixels, None
        ground = transforms.look(batch.ground, batch.ground_maps[rows, age], size_px)
        return over(pixels, self._canvas.colours(ground))[:, :, part, part], pixels[:, 3:]

    def _watch(self, batch: IconBatch, scores: Tensor) -> None:
        """Stop the icons whose objective has not risen for `patience` steps."""
        if self._settings.patience is None:
            return
        watched = batch.age >= self._first_still
        risen = ~watched | (scores > batch.best + LEAST_RISE)
        batch.best = torch.where(watched & risen, scores, batch.best)
        batch.best_age = torch.where(risen, batch.age, batch.best_age)
        batch.stopped |= batch.age - batch.best_age >= self._settings.patience

    def done(self, batch: IconBatch) -> Tensor:
        """(B,) bool on the CPU: waits for the device."""
        return (batch.stopped | (batch.age >= self._settings.steps)).cpu()


def _another_start(batch: IconBatch) -> Tensor:
    """Where an icon without a gradient goes on from: its own start, turned, negated, and stronger.

    Behind a ReLU that nothing passes there is no slope at all. What one pattern leaves asleep its negative
    often wakes; each step tries another, from faint to strong.
    """
    side = batch.pattern.shape[2]
    rows = torch.arange(side, device=batch.age.device)
    turned = (rows[None, :] - batch.age[:, None]) % side
    pattern = batch.pattern.gather(2, turned[:, None, :, None, None].expand_as(batch.pattern))
    strength = (-1.0) ** batch.age * 2.0 ** (batch.age // 2 % _STRENGTHS)
    return pattern * strength.view(-1, 1, 1, 1, 1)
