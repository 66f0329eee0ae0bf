"""Peers of our engine: batched, expert use of the public parts of lucent and Captum's optim branch.

A peer runs the whole network as trained, as its users do. We add what an expert would: one batch, one hook,
the objective at the centre of the feature map, no upsampling to 224 px. B = icon in a batch, K = channel,
S = icon side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atlas_pipeline.inversion import centre_activation
from atlas_pipeline.models.network import Normalise
from scripts.benchmarks.inversion.cases import Case, middle

# As in the notebooks of the article: the cosine is clamped from below, then raised to this power.
NOTEBOOK_POWER, NOTEBOOK_LEAST = 4, 0.1
LUCENT_RATE, CAPTUM_RATE = 0.05, 0.025
# Sides of the images for which the peers' transforms were designed.
LUCENT_PX, CAPTUM_PX = 128, 80


@dataclass(frozen=True)
class PeerUse:
    """How a peer is used; `of` parses the words of its name."""

    power: bool = False
    """Use the notebooks' objective (dot product times a power of the cosine), not the plain cosine."""
    shipped: bool = False
    """Use the transforms as shipped, instead of scaling them to the size of the icon."""
    frozen: bool = False
    """Disable gradients of the weights, which users of the peers leave enabled."""

    @classmethod
    def of(cls, words: list[str]) -> PeerUse:
        unknown = set(words) - {"cosine", "power", "shipped", "frozen"}
        if unknown:
            raise ValueError(
                f"'{unknown.pop()}' is not an option of a peer; options: cosine, power, shipped, frozen"
            )
        return cls("power" in words, "shipped" in words, "frozen" in words)


def lucent_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """lucent: Fourier image, decorrelated colours, its transforms, and Adam at the rate of its notebooks.

    Raises: RuntimeError: the device is the CPU but a GPU is visible.
    """
    from lucent.optvis import param, transform

    if device == "cpu" and torch.cuda.is_available():
        raise RuntimeError("lucent always uses a visible GPU; hide it with CUDA_VISIBLE_DEVICES=")
    use, size_px = PeerUse.of(words), case.settings.size_px
    # Crop the padding, so that the network sees the image where the finished icon will be.
    steps_seen = [*_lucent_transforms(transform, size_px), lambda images: middle(images, size_px)]
    if use.shipped:
        steps_seen = [*transform.standard_transforms, _resized(size_px)]
    network = WholeNetwork(case, use, device)

    def make(directions: Tensor, steps: int) -> Tensor:
        _seed_all()
        coefficients, image = param.image(size_px, batch=len(directions), fft=True, decorrelate=True)
        look = transform.compose(steps_seen)
        network.climb(lambda: look(image()), coefficients, LUCENT_RATE, directions.to(device), steps)
        return as_icons(image())

    return make


def _lucent_transforms(transform: Any, size_px: int) -> list[Callable[[Tensor], Tensor]]:
    """lucent's standard transforms, with pixel amounts scaled to the size of the icon."""

    def scaled(pixels: int) -> int:
        return max(2, round(pixels * size_px / LUCENT_PX))

    return [
        transform.pad(scaled(12), mode="constant", constant_value=0.5),
        transform.jitter(scaled(8)),
        transform.random_scale([1 + step / 50 for step in range(-5, 6)]),
        transform.random_rotate([*range(-10, 11), 0, 0, 0, 0, 0]),
        transform.jitter(scaled(4)),
    ]


def _resized(size_px: int) -> nn.Module:
    """Shrink the padded image to the input size, as lucent does."""
    return nn.Upsample((size_px, size_px), mode="bilinear", align_corners=True)


def captum_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """Captum's optim branch: Fourier image, decorrelated colours, its transforms, and Adam at its own rate.

    Its image module uses named tensors, which torch has dropped; its parts still work one by one.
    """
    from captum import optim

    use, size_px = PeerUse.of(words), case.settings.size_px
    share = 1.0 if use.shipped else min(1.0, size_px / CAPTUM_PX)
    look = optim.transforms.TransformationRobustness(
        nn.ConstantPad2d(max(1, round(2 * share)), 0.5),
        translate=[max(1, round(4 * share))] * 10,
        final_translate=max(1, round(2 * share)),
        crop_or_pad_output=True,
    )
    to_rgb = optim.transforms.ToRGB().transform.to(device)
    network = WholeNetwork(case, use, device)

    def make(directions: Tensor, steps: int) -> Tensor:
        _seed_all()
        canvas = optim.images.FFTImage((size_px, size_px), batch=len(directions)).to(device)

        def image() -> Tensor:
            planes = canvas.torch_irfft(canvas.fourier_coeffs * canvas.spectrum_scale)
            return torch.sigmoid((to_rgb @ planes.flatten(2)).view_as(planes))

        network.climb(
            lambda: look(image()), [canvas.fourier_coeffs], CAPTUM_RATE, directions.to(device), steps
        )
        return as_icons(image())

    return make


class WholeNetwork:
    """The unmodified network: not cut, batch norms not folded, in torch's default memory format."""

    def __init__(self, case: Case, use: PeerUse, device: str) -> None:
        module = copy.deepcopy(case.network.module).to(device, memory_format=torch.contiguous_format)
        self._module = module.eval().requires_grad_(not use.frozen)
        self._normalise = Normalise(case.network.preprocess).to(device)
        self._layer, self._power = case.layer, use.power

    def climb(
        self,
        look: Callable[[], Tensor],
        coefficients: list[Tensor],
        rate: float,
        directions: Tensor,
        steps: int,
    ) -> None:
        """Maximise the objective by Adam.

        look: returns the transformed images (B, 3, side, side) in [0, 1] of the coefficients.
        """
        optimizer = torch.optim.Adam(coefficients, lr=rate)
        self._module.zero_grad(set_to_none=True)
        with _hooked(self._module.get_submodule(self._layer)) as outputs:
            for _ in range(steps):
                optimizer.zero_grad()
                self._module(self._normalise(look()))
                scores = centre_scores(outputs.pop(), directions, self._power)
                (-scores.sum()).backward()
                optimizer.step()


def centre_scores(feature_map: Tensor, directions: Tensor, power: bool) -> Tensor:
    """Cosine at the centre of the feature map, or dot product times its power: (B,)."""
    activations = centre_activation(feature_map)
    cosine = torch.nn.functional.cosine_similarity(activations, directions)
    if not power:
        return cosine
    return (activations * directions).sum(1) * cosine.clamp(min=NOTEBOOK_LEAST) ** NOTEBOOK_POWER


def as_icons(images: Tensor) -> Tensor:
    """Convert (B, 3, S, S) in [0, 1] to (B, S, S, 3) uint8 on the CPU."""
    return (images.detach() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


@contextmanager
def _hooked(module: nn.Module) -> Any:
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


def _seed_all() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - lucent draws from NumPy's global state
