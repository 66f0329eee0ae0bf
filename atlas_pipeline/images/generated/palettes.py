"""Random colours of any hue, always with enough contrast in brightness to show the form."""

from __future__ import annotations

import numpy as np

from atlas_pipeline.images.generated.fields import Field

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_MIN_LIGHT = 0.6
_MAX_DARK = 0.3


def _hue(turn: float) -> np.ndarray:
    """The pure colour at a position `turn` on the colour wheel (0 and 1 are red)."""
    return np.clip(np.abs((turn * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)


def _light(rng: np.random.Generator) -> np.ndarray:
    colour = 1 - (1 - _hue(rng.uniform())) * rng.uniform(0.1, 0.75)
    luminance = colour @ _LUMINANCE
    # Pure blue is dark: mix in white until it is light enough.
    return colour + (1 - colour) * max(0.0, (_MIN_LIGHT - luminance) / (1 - luminance))


def _dark(rng: np.random.Generator) -> np.ndarray:
    colour = (1 - (1 - _hue(rng.uniform())) * rng.uniform(0.3, 0.9)) * rng.uniform(0.15, 0.75)
    return colour * min(1.0, _MAX_DARK / (colour @ _LUMINANCE))


def palette(rng: np.random.Generator) -> np.ndarray:
    """Two or three colours from dark to light, (colour, 3) in [0, 1], of any hue."""
    ends = [_dark(rng), _light(rng)]
    if rng.random() < 0.5:
        return np.array(ends, np.float32)
    middle = 0.35 * (ends[0] + ends[1]) + 0.3 * _hue(rng.uniform())
    return np.array([ends[0], middle, ends[1]], np.float32)


def plain(rng: np.random.Generator) -> np.ndarray:
    """One light or dark colour, (3,) in [0, 1]."""
    return (_light(rng) if rng.random() < 0.5 else _dark(rng)).astype(np.float32)


def coloured(field: Field, colours: np.ndarray) -> np.ndarray:
    """Colours (row, column, 3) for the field's values (row, column) in [0, 1], blended along the palette."""
    if len(colours) == 2:
        return colours[0] + field[..., None] * (colours[1] - colours[0])
    low, high = np.clip(field * 2, 0, 1)[..., None], np.clip(field * 2 - 1, 0, 1)[..., None]
    return colours[0] + low * (colours[1] - colours[0]) + high * (colours[2] - colours[1])
