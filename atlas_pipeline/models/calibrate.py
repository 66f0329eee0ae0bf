"""Random parameters that are equal in every process, and batch norms calibrated to keep activations alive.

B = batch, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from atlas_pipeline.errors import ModelError

NUM_IMAGES = 16


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator with ``seed`` inside the block and restore its state afterwards."""
    with torch.random.fork_rng(devices=()):
        # torch.manual_seed would also seed the GPUs, and fork_rng would have to save and restore them.
        torch.default_generator.manual_seed(seed)
        yield


def noise_images(size_px: int, seed: int, num_images: int = NUM_IMAGES) -> Tensor:
    """Smooth random images, (B, 3, S, S) float32 in [0, 1]: amplitude 1 / frequency, as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(num_images, 3, size_px, size_px, generator=generator)
    rows = torch.fft.fftfreq(size_px)[:, None]
    columns = torch.fft.rfftfreq(size_px)[None, :]
    frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / size_px)
    images = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(size_px, size_px))
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-6)


def calibrate_batch_norms(module: nn.Module, forward: Callable[[], object]) -> None:
    """Set every batch norm's mean and variance to those of its own input, in one forward pass.

    In training mode a batch norm normalises by its batch, so every norm is measured after norms that are
    already calibrated, layer by layer. Without calibration the activations of a random network shrink from
    layer to layer until nothing is left (1e-8 at GoogLeNet's inception4c).

    Raises: ModelError: the batch gives a batch norm only one value per channel.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            # None: a plain average over all batches; here there is one batch.
            norm.momentum = None
            norm.train()
        with torch.no_grad():
            forward()
    except ValueError as error:
        raise ModelError(f"batch norms cannot be calibrated: {error}; use more or larger images") from error
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
