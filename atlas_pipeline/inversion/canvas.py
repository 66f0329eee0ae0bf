"""Canvas: converts Fourier coefficients to images, and images to coefficients.

``fourier``: the coefficients are free and scaled by weights that fall with frequency. ``maco``: every
coefficient keeps the magnitude that real images have at its frequency, and only its phase is optimised (Fel
et al., "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization", NeurIPS
2023). With `alpha` a fourth plane holds the opacity of each pixel.
B = icon in a batch, P = plane (3, or 4 with alpha), C = canvas side, S = icon side, F = C // 2 + 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atlas_pipeline.inversion import fourier
from atlas_pipeline.inversion.settings import MID_GREY, InversionSettings

_TINY = 1e-8
# Below this contrast, the levels of a finished icon's pixels say nothing about the canvas.
_LEAST_CONTRAST = 0.1


class Canvas:
    """Renders coefficients (B, P, C, F, 2) float32.

    Args:   magnitude: (3, C, F), from `fourier.magnitude_spectrum`; only for image "maco".
            contrast: (C, C), from `vignette.contrast_map`; None: no vignette.
    Raises: ValueError: the image type and the magnitude do not match, or the magnitude has a wrong shape.
    """

    def __init__(
        self,
        settings: InversionSettings,
        device: torch.device,
        magnitude: Tensor | None = None,
        contrast: Tensor | None = None,
    ) -> None:
        if (settings.image == "maco") != (magnitude is not None):
            raise ValueError(
                f"image is '{settings.image}', magnitude {'given' if magnitude is not None else 'missing'}; "
                "maco needs one (fourier.magnitude_spectrum of real images), fourier takes none"
            )
        self._settings = settings
        self._device = device
        self.num_planes = 4 if settings.alpha else 3
        weights = fourier.spectrum_weights(settings)
        shape = (3, *weights.shape)
        if magnitude is not None and tuple(magnitude.shape) != shape:
            raise ValueError(f"magnitude has shape {tuple(magnitude.shape)}; these settings need {shape}")
        colour = weights.expand(shape) if magnitude is None else magnitude.float().cpu()
        opacity = weights.expand(self.num_planes - 3, *weights.shape)
        # (P, C, F). With maco the colour weights scale unit phases, not free coefficients.
        self._weights = torch.cat([colour, opacity]).contiguous().to(device)
        # On the device once: a copy at every step would wait for the device.
        self._mirrored = fourier.mirrored_weights(self._weights)
        self._contrast = None
        if contrast is not None:
            # Opacity has no vignette of its own.
            of_opacity = torch.ones_like(contrast).expand(self.num_planes - 3, -1, -1)
            self._contrast = torch.cat([contrast.expand(3, -1, -1), of_opacity]).contiguous().to(device)
        self._mix = fourier.colour_mix(settings.contrast).to(device)

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Each icon's random initial coefficients, on the device."""
        return self._normalise_phases(
            fourier.start_coefficients(seeds, self._settings, self.num_planes, self._device)
        )

    def start_from(self, images: Tensor) -> Tensor:
        """Coefficients whose canvas shows the finished icons (B, S, S, P) uint8 at its centre."""
        planes = fourier.planes_from_images(images.to(self._device), self._settings)
        if self._contrast is not None:
            planes = planes / self._contrast.clamp(min=_LEAST_CONTRAST)
        return self._normalise_phases(fourier.coefficients_from_planes(planes, self._weights))

    def _normalise_phases(self, coefficients: Tensor) -> Tensor:
        """With maco, normalise colour coefficients to unit length: the learning rate is then in radians."""
        if self._settings.image != "maco":
            return coefficients
        phases = torch.nn.functional.normalize(coefficients[:, :3], dim=-1, eps=_TINY)
        return torch.cat([phases, coefficients[:, 3:]], dim=1)

    def background(self, seeds: Sequence[int]) -> Tensor:
        """Background of transparent icons during optimisation: (B, 3, C, C) planes of strong smooth noise."""
        negated = [-1 - seed for seed in seeds]
        noise = fourier.start_coefficients(negated, self._settings, device=self._device)
        weights = fourier.spectrum_weights(self._settings).to(self._device)
        return fourier.planes(noise / self._settings.start_sd, weights)

    def planes(self, coefficients: Tensor) -> Tensor:
        """(B, P, C, C): decorrelated colours, and opacity with `alpha`; `colours` converts them to pixels."""
        planes = fourier.planes(self._normalise_phases(coefficients), self._weights, self._mirrored)
        return planes if self._contrast is None else planes * self._contrast

    def colours(self, planes: Tensor) -> Tensor:
        """Convert planes (B, 3 or P, side, side) to RGB pixels in (0, 1), and opacity with `alpha`."""
        return fourier.colours(planes, self._mix, self._settings.contrast)

    def icon(self, coefficients: Tensor) -> Tensor:
        """Finished icons, (B, S, S, P) uint8 on the CPU."""
        with torch.no_grad():
            middle = fourier.middle(self.planes(coefficients), self._settings.size_px)
            pixels = self.colours(middle)
            return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


def to_network_input(images: Tensor, device: torch.device) -> Tensor:
    """Convert icons (B, S, S, P) uint8 to network input (B, 3, S, S) in [0, 1]; mid grey behind alpha."""
    pixels = images.to(device).permute(0, 3, 1, 2).float() / 255
    return composite(pixels, torch.full_like(pixels[:, :3], MID_GREY / 255))


def composite(pictures: Tensor, background: Tensor) -> Tensor:
    """Composite images (B, P, side, side) over a background (B, 3, side, side); three planes are opaque."""
    if pictures.shape[1] == 3:
        return pictures
    colour, opacity = pictures[:, :3], pictures[:, 3:]
    return opacity * colour + (1 - opacity) * background
