"""Inversion settings: every number that changes an icon, and no others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OBJECTIVES = ("cosine_power", "cosine", "dot")
IMAGES = ("fourier", "maco")
SCHEDULES = ("constant", "cosine")
ARITHMETICS = ("float32", "tf32", "bfloat16")
# Grey level (0 to 255) behind transparent icons when they are measured.
MID_GREY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionSettings:
    """Settings of `invert`; the defaults were chosen by measurement (docs/icons.md).

    Raises: ValueError: a value is out of range; the message names the setting.

    >>> InversionSettings(steps=64).canvas_px
    100
    """

    size_px: int = 80
    """Side of the icon, and of the network's input."""
    steps: int = 96
    learning_rate: float | None = None
    """Adam's learning rate at the first step, in units of the scaled coefficients (with maco, in radians of
    phase). None: 0.25 (maco: 0.6) divided by the square root of the number of steps; 1.6 times as much if it
    falls."""
    schedule: str = "constant"
    """Learning rate schedule: `constant`, or `cosine` (falls to almost 0 at the last step)."""
    adam_memory: float = 0.95
    """Adam's beta 2. The usual 0.999 would remember the steep first steps for longer than a run lasts."""
    patience: int | None = None
    """Steps without an increase of the objective after which an icon stops, counted once the transforms have
    ended. None: every icon takes all its steps."""
    attempts: int = 1
    """Icons made for each direction from different starts; the one with the highest fidelity is kept."""
    warm_steps: int | None = 24
    """Steps of an icon that starts from a finished one. None: every icon starts from random coefficients."""
    objective: str = "cosine_power"
    """`cosine_power` (dot product and cosine), `cosine` alone, or `dot` alone."""
    cosine_power: float = 8.0
    """Exponent n in (h.v)^(n+1) / (|h| |v|)^n."""
    whitening: float = 0.0
    """Power of the layer's precision in the metric of the objective: 0 is the raw metric, 1 the whitened one.
    Above 0, `invert` needs a precision matrix."""
    image: str = "fourier"
    """`fourier`: free coefficients, weighted by frequency; `maco`: only phases, with the magnitudes of real
    images (`invert` then needs a magnitude spectrum)."""
    alpha: float = 0.0
    """Weight of the reward for transparency. Above 0 an icon has a fourth channel, its opacity."""
    canvas_scale: float = 1.25
    """Canvas side divided by icon side; the margin is room for the transforms."""
    start_sd: float = 0.01
    """Standard deviation of the initial coefficients."""
    spectrum_gain: float = 0.25
    """Weight of a coefficient of frequency f (cycles per pixel): gain / f ** falloff, with a low-pass."""
    spectrum_falloff: float = 1.25
    spectrum_cutoff: float = 0.4
    """Cut-off of the low-pass, in cycles per pixel; it suppresses single-pixel noise."""
    contrast: float = 4.0
    """Gain before the sigmoid that gives pixel values."""
    vignette: float = 0.0
    """Share of the contrast that an icon loses towards its edge, where its position hardly looks (objectives
    of one position alone)."""
    rotation_degrees: float = 10.0
    zoom_min: float = 0.9
    zoom_max: float = 1.12
    shift: float = 0.5
    """Largest shift either way along each axis, in map positions; at most 0.12 of the icon's side."""
    settle: float = 0.3
    """Share of the steps over which the transforms fade out, before the `still` steps."""
    still: float = 0.45
    """Share of the steps at the end without transforms; never fewer than the last 24 steps."""
    arithmetic: str = "tf32"
    """Precision of the network during optimisation: `tf32` (on a CPU the same as `float32`), `float32`, or
    `bfloat16` (autocast). The canvas, the optimiser and the measures of finished icons are always float32."""

    def __post_init__(self) -> None:
        _require(self.size_px >= 1, "size_px", self.size_px, "at least 1")
        _require(self.steps >= 1, "steps", self.steps, "at least 1")
        _require(self.attempts >= 1, "attempts", self.attempts, "at least 1")
        rate = self.learning_rate
        _require(rate is None or 0 < rate < math.inf, "learning_rate", rate, "above 0, or null")
        for name in ("patience", "warm_steps"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "at least 1, or null")
        for name in ("start_sd", "spectrum_gain", "spectrum_cutoff", "contrast", "zoom_min"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "above 0")
        for name in ("cosine_power", "spectrum_falloff", "rotation_degrees", "shift", "alpha"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, name, value, "0 or more")
        _require(0 <= self.whitening <= 1, "whitening", self.whitening, "in [0, 1]")
        _require(0 <= self.vignette <= 1, "vignette", self.vignette, "in [0, 1]")
        _require(0 <= self.adam_memory < 1, "adam_memory", self.adam_memory, "in [0, 1)")
        _require(0 <= self.settle <= 1, "settle", self.settle, "in [0, 1]")
        _require(
            0 <= self.still <= 1 - self.settle,
            "still",
            self.still,
            f"in [0, 1 - settle = {1 - self.settle:g}]",
        )
        for name, least, words in (
            ("zoom_max", self.zoom_min, f"at least zoom_min ({self.zoom_min})"),
            ("canvas_scale", 1, "at least 1"),
        ):
            value = getattr(self, name)
            _require(least <= value < math.inf, name, value, words)
        for name, known in (
            ("objective", OBJECTIVES),
            ("image", IMAGES),
            ("schedule", SCHEDULES),
            ("arithmetic", ARITHMETICS),
        ):
            value = getattr(self, name)
            _require(value in known, name, value, f"one of {', '.join(known)}", known)

    @property
    def rate(self) -> float:
        """Learning rate at the first step; by default, fewer steps use a larger rate."""
        if self.learning_rate is not None:
            return self.learning_rate
        highest = (0.6 if self.image == "maco" else 0.25) / math.sqrt(self.steps)
        return highest if self.schedule == "constant" else 1.6 * highest

    @property
    def canvas_px(self) -> int:
        """Canvas side; its parity equals the icon's, so that the icon is centred exactly."""
        spare = round(self.size_px * (self.canvas_scale - 1) / 2)
        return self.size_px + 2 * spare


STYLES: Mapping[str, Mapping[str, Any]] = {
    "vivid": {
        "whitening": 0.25,
        "vignette": 0.75,
        "contrast": 5.0,
        "rotation_degrees": 15.0,
        "zoom_min": 0.85,
        "zoom_max": 1.18,
        "shift": 0.75,
        "still": 0.3,
    },
    "faithful": {"objective": "cosine", "schedule": "cosine", "steps": 320},
}
"""Settings of an atlas's icons, by style: `vivid` icons read best, `faithful` ones are nearest to the mean.

>>> InversionSettings(**STYLES["faithful"], size_px=112).objective
'cosine'
"""


class SettingError(ValueError):
    """A setting has an invalid value. words: all allowed values, if they form a short list."""

    def __init__(self, name: str, value: object, allowed: str, words: Sequence[str] = ()) -> None:
        super().__init__(f"inversion setting {name} is {value!r}; it must be {allowed}")
        self.name, self.value, self.allowed, self.words = name, value, allowed, words


def _require(holds: bool, name: str, value: object, allowed: str, words: Sequence[str] = ()) -> None:
    if not holds:
        raise SettingError(name, value, allowed, words)
