"""Schedule of an optimisation: learning rate and transform strength at each step.

An icon with a random start runs the full schedule; one that starts from a finished icon runs a shorter one.
T = step.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from atlas_pipeline.inversion.settings import InversionSettings

FIRST_MEMORY = 0.7
_MIN_STILL_STEPS = 24


def warm_settings(settings: InversionSettings) -> InversionSettings:
    """Settings for icons that start from a finished one: fewer steps, no transforms, the same learning rate.

    The finished icon already has the robustness that transforms add; more transforms would only blur it.
    """
    if settings.warm_steps is None:
        raise ValueError("warm_steps is null, which disables start images; set it to a number of steps")
    return replace(settings, steps=settings.warm_steps, learning_rate=settings.rate, settle=0.0, still=1.0)


def learning_rates(settings: InversionSettings) -> Tensor:
    """Learning rate of each step, with Adam's bias corrections: (T, 2) float32.

    A step subtracts ``first_moment * rate / (sqrt(second_moment) * correction + tiny)``; the columns are rate
    and correction (Kingma and Ba, "Adam", 2015).
    """
    rows = []
    for step in range(settings.steps):
        rate = settings.rate
        if settings.schedule == "cosine":
            rate *= 0.5 + 0.5 * math.cos(math.pi * step / settings.steps)
        first_correction = 1 - FIRST_MEMORY ** (step + 1)
        second_correction = 1 - settings.adam_memory ** (step + 1)
        rows.append((rate / first_correction, second_correction**-0.5))
    return torch.tensor(rows)


def first_still_step(settings: InversionSettings) -> int:
    """The first step without transforms: from here on the objective is that of the finished icon.

    Transforms average over many steps, so a short run gains less from them than it loses.
    """
    still = max(round(settings.steps * settings.still), min(_MIN_STILL_STEPS, settings.steps))
    return settings.steps - still


def strengths(settings: InversionSettings) -> Tensor:
    """Transform strength of each step: 1, then linearly down to 0, then 0 to the end.

    Returns: (T,) float64.
    """
    settling = round(settings.steps * settings.settle)
    left = first_still_step(settings) - torch.arange(settings.steps, dtype=torch.float64)
    return (left / (settling + 1)).clamp(0.0, 1.0)
