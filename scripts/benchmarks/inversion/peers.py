"""The peers at their best: an expert's batched use of the public parts of lucent and Captum's optim branch.

A peer gets what its user has, the whole network as it was trained, and what an expert would do with it: one
batch, one hook, the objective on the map's centre, no upsampling to 224 px. B = icon in a batch,
K = channel, S = icon side.
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

# Of the article's notebooks: the cosine is clamped from below, then raised to this power.
NOTEBOOK_POWER, NOTEBOOK_LEAST = 4, 0.1
LUCENT_RATE, CAPTUM_RATE = 0.05, 0.025
# Sides of the images that the peers' transforms are made for.
LUCENT_PX, CAPTUM_PX = 128, 80


@dataclass(frozen=True)
class PeerUse:
    """How a peer is used; `of` reads the words of its name."""

    power: bool = False
    """The notebooks' objective, dot product times a power of the cosine, instead of the true cosine."""
    shipped: bool = False
    """Transforms as they come, instead of ones in proportion to the icon."""
    frozen: bool = False
    """Weights without gradients, which the peers' users do not ask for."""

    @classmethod
    def of(cls, words: list[str]) -> PeerUse:
        unknown = set(words) - {"cosine", "power", "shipped", "frozen"}
        if unknown:
            raise ValueError(f"'{unknown.pop()}' is no word of a peer's name: cosine, power, shipped, frozen")
        return cls("power" in words, "shipped" in words, "frozen" in words)


def lucent_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """Fourier image, decorrelated colour and transforms of lucent, Adam at its notebooks' rate."""
    from lucent.optvis import param, transform

    if device == "cpu" and torch.cuda.is_available():
        raise RuntimeError("it always takes a GPU where there is one; hide it: CUDA_VISIBLE_DEVICES=")
    use, size_px = PeerUse.of(words), case.settings.size_px
    # The image's place under the network is then the finished icon's, not that of a padded one.
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
    """lucent's standard ones, their pixels in proportion to the icon."""

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
    """lucent's own way to fix what the network sees: the padded image is shrunk."""
    return nn.Upsample((size_px, size_px), mode="bilinear", align_corners=True)


def captum_engine(case: Case, words: list[str], device: str) -> Callable[[Tensor, int], Tensor]:
    """Fourier image, decorrelated colour and transforms of Captum's optim branch, Adam at its own rate.

    Its image module names the axes of tensors, which torch has given up; its parts still work by themselves.
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
    colours = optim.transforms.ToRGB().transform.to(device)
    network = WholeNetwork(case, use, device)

    def make(directions: Tensor, steps: int) -> Tensor:
        _seed_all()
        canvas = optim.images.FFTImage((size_px, size_px), batch=len(directions)).to(device)

        def image() -> Tensor:
            planes = canvas.torch_irfft(canvas.fourier_coeffs * canvas.spectrum_scale)
            return torch.sigmoid((colours @ planes.flatten(2)).view_as(planes))

        network.climb(
            lambda: look(image()), [canvas.fourier_coeffs], CAPTUM_RATE, directions.to(device), steps
        )
        return as_icons(image())

    return make


class WholeNetwork:
    """The network as any user has it: whole, batch norms unfolded, in torch's usual memory format."""

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
        """Steps of Adam. look: -> transformed images (B, 3, side, side) in [0, 1] of the coefficients."""
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
    """True cosine at the map's centre, or the notebooks' dot product times a power of it: (B,)."""
    activations = centre_activation(feature_map)
    cosine = torch.nn.functional.cosine_similarity(activations, directions)
    if not power:
        return cosine
    return (activations * directions).sum(1) * cosine.clamp(min=NOTEBOOK_LEAST) ** NOTEBOOK_POWER


def as_icons(images: Tensor) -> Tensor:
    """(B, 3, S, S) in [0, 1] -> (B, S, S, 3) uint8 on the CPU."""
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
