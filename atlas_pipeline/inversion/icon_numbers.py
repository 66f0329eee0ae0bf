"""Legibility of icons, with noise and real images as references."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from atlas_pipeline.numerics import legibility

if TYPE_CHECKING:
    import torch

# Noise images whose cosine to a direction is the baseline for an icon's fidelity.
NUM_NOISE = 64


def legibility_numbers(images: np.ndarray, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Legibility measures of images (image, side, side, 3) uint8 against real crops of that side, by name."""
    real = legibility.real_statistics(crops)
    return {
        "saturated": legibility.saturated_share(images),
        "spectrum_distance": legibility.spectrum_distance(images, real),
        "colour_distance": legibility.colour_distance(images, real),
    }


def legibility_of_real(crops: np.ndarray) -> dict[str, float]:
    """Legibility of the real crops themselves: mean share of saturated pixels, median distances."""
    return {
        name: float(np.mean(values) if name == "saturated" else np.median(values))
        for name, values in legibility_numbers(crops, crops).items()
    }


def noise_activation(
    feature_map: Callable[[torch.Tensor], torch.Tensor], size_px: int, seed: int, device: str
) -> np.ndarray:
    """Centre activation (image, channel) float32 of uniform noise images of the icons' size."""
    import torch

    from atlas_pipeline.inversion import centre_activation
    from atlas_pipeline.inversion.batch_memory import in_batches
    from atlas_pipeline.models.arithmetic import ieee

    # The generator takes 64 bits; seeds may be longer.
    generator = torch.Generator().manual_seed(seed % 2**63)
    noise = torch.rand(NUM_NOISE, 3, size_px, size_px, generator=generator)

    def activation(which: torch.Tensor) -> torch.Tensor:
        return centre_activation(feature_map(noise[which].to(device))).float()

    with ieee(), torch.no_grad():
        return torch.cat(list(in_batches(activation, NUM_NOISE))).numpy()
