"""The batched loop: many icons, one optimiser, one transform call and one network call a step.

B = icon in a batch, S = icon side, K = channel.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError, ResourceError
from atlas_pipeline.inversion import fourier, objective, transforms
from atlas_pipeline.inversion.settings import InversionSettings

FeatureMap = Callable[[Tensor], Tensor]

_DEFAULT_BATCH = {"cpu": 32, "cuda": 256}
_WAKING_STEPS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Icons:
    """Finished icons, on the CPU, in the order of the directions."""

    images: Tensor
    """(icon, S, S, 3) uint8, red, green, blue."""
    activation: Tensor
    """(icon, channel) float32: what the finished uint8 icon gives at the centre, without transforms."""
    objective: Tensor
    """(icon,) float32, of that activation."""
    steps: Tensor
    """(icon,) int32, steps taken."""


def invert(
    feature_map: FeatureMap,
    directions: Tensor,
    seeds: Sequence[int],
    settings: InversionSettings | None = None,
    *,
    precision: Tensor | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Icons:
    """An icon for each direction: an image whose activation at the map's centre points along it.

    An icon depends on its direction and seed alone. Which others share its batch changes it only by the
    rounding of the network's kernels. A batch that does not fit the GPU is halved and tried again.

    Args:    feature_map: images (B, 3, S, S) float32 in [0, 1] on `device` -> (B, channel, height, width),
             each image on its own (batch norms in evaluation mode), differentiable.
             directions: (icon, channel), finite, none zero. seeds: one an icon.
             precision: (channel, channel), for the whitened metric alone.
             batch_size: icons optimised together; None: 32 on a CPU, 256 on a GPU.
             advance: called with the number of icons just finished.
    Returns: Icons.
    Raises:  ValueError: a direction or precision that cannot be used.
             ModelError: activations that are not finite, or with other channels than the directions.
             ResourceError: not even one icon fits the memory.
    Source:  Carter et al., "Activation Atlas" (Distill 2019); objective and image in their modules.
    """
    settings = InversionSettings() if settings is None else settings
    directions = _checked_directions(directions, seeds)
    root = _checked_root(settings, precision, directions.shape[1])
    device = torch.device(device)
    batch_size = _DEFAULT_BATCH.get(device.type, 32) if batch_size is None else batch_size
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")

    finished: list[Icons] = []
    start = 0
    while start < len(directions):
        stop = min(start + batch_size, len(directions))
        try:
            batch = _invert_batch(
                feature_map, directions[start:stop], seeds[start:stop], settings, root, device
            )
        except torch.cuda.OutOfMemoryError as error:
            if stop - start == 1:
                side = settings.size_px
                raise ResourceError(
                    f"one icon of {side} px does not fit the memory of {device}; lower size_px or use the CPU"
                ) from error
            batch = None
        if batch is None:
            # Outside the handler: the traceback holds the tensors that did not fit.
            batch_size = (stop - start) // 2
            torch.cuda.empty_cache()
            continue
        _check_finite(batch.activation, start)
        finished.append(batch)
        start = stop
        if advance is not None:
            advance(len(batch.images))
    return _concatenated(finished, settings.size_px, directions.shape[1])


def _invert_batch(
    feature_map: FeatureMap,
    directions: Tensor,
    seeds: Sequence[int],
    settings: InversionSettings,
    root: Tensor | None,
    device: torch.device,
) -> Icons:
    weights = fourier.spectrum_weights(settings).to(device)
    start = fourier.start_coefficients(seeds, settings).to(device)
    root = None if root is None else root.to(device)
    goals = _in_metric(directions.to(device), root)

    def score(images: Tensor, arithmetic: str) -> tuple[Tensor, Tensor]:
        with _arithmetic(arithmetic, device):
            centre = objective.centre_activation(feature_map(images)).float()
        _check_channels(centre, directions)
        return centre, objective.cosine_power(_in_metric(centre, root), goals, settings.cosine_power)

    with torch.no_grad():
        first = fourier.middle(fourier.render(start[:1], weights, settings.contrast), settings.size_px)
        map_side = min(feature_map(first).shape[-2:])
    maps = transforms.draw_transforms(seeds, settings, map_side).to(device)
    coefficients = start.clone().requires_grad_()
    optimizer = torch.optim.Adam(
        [coefficients], lr=settings.learning_rate, betas=(0.9, settings.adam_memory), fused=True
    )
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.learning_rate * _pace(step, settings)
        canvas = fourier.render(coefficients, weights, settings.contrast)
        _, scores = score(transforms.look(canvas, maps[step], settings.size_px), settings.arithmetic)
        (gradient,) = torch.autograd.grad(-scores.sum(), coefficients)
        coefficients.grad = _usable(gradient, start, step)
        optimizer.step()

    with torch.no_grad():
        canvas = fourier.render(coefficients, weights, settings.contrast)
        images = (fourier.middle(canvas, settings.size_px) * 255).round().to(torch.uint8)
        # Whatever arithmetic found it: what the icon is judged by is read in full.
        activation, scores = score(images.float() / 255, "float32")
    steps = torch.full((len(images),), settings.steps, dtype=torch.int32)
    return Icons(images.permute(0, 2, 3, 1).contiguous().cpu(), activation.cpu(), scores.cpu(), steps)


def _pace(step: int, settings: InversionSettings) -> float:
    """Share of the learning rate at a step, from 1 down."""
    if settings.schedule == "constant":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * step / settings.steps)


def _usable(gradient: Tensor, start: Tensor, step: int) -> Tensor:
    """The gradient; where an icon has none, or one that is not finite, the way to more contrast.

    Behind a ReLU that nothing passes there is no slope at all: a stronger image is what wakes it. The
    pattern is the icon's own start, another part of it every few steps, until one of them passes.
    """
    largest = gradient.flatten(1).abs().amax(1)
    alive = (torch.isfinite(largest) & (largest > 0)).view(-1, 1, 1, 1, 1)
    pattern = start.roll(step // _WAKING_STEPS, dims=2)
    return torch.where(alive, gradient, -pattern)


def _in_metric(vectors: Tensor, root: Tensor | None) -> Tensor:
    return vectors if root is None else vectors @ root


@contextlib.contextmanager
def _arithmetic(name: str, device: torch.device) -> Iterator[None]:
    """The network's arithmetic, for as long as the context lasts."""
    if name == "bfloat16":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
    elif name == "tf32" and device.type == "cuda":
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    else:
        yield


def _checked_directions(directions: Tensor, seeds: Sequence[int]) -> Tensor:
    if directions.ndim != 2:
        raise ValueError(f"directions have shape {tuple(directions.shape)}; it must be (icon, channel)")
    if len(seeds) != len(directions):
        raise ValueError(f"{len(directions)} directions but {len(seeds)} seeds; give one seed an icon")
    directions = directions.detach().to("cpu", torch.float32)
    for bad, what in (
        (~torch.isfinite(directions).all(1), "is not finite"),
        ((directions == 0).all(1), "is zero: it points nowhere, leave it out"),
    ):
        if bad.any():
            raise ValueError(f"direction {int(bad.nonzero()[0])} {what}")
    return directions


def _checked_root(settings: InversionSettings, precision: Tensor | None, num_channels: int) -> Tensor | None:
    if (settings.metric == "whitened") != (precision is not None):
        raise ValueError(
            f"metric is '{settings.metric}', precision {'given' if precision is not None else 'missing'}; "
            "the whitened metric needs one, the raw one takes none"
        )
    if precision is None:
        return None
    if tuple(precision.shape) != (num_channels, num_channels):
        raise ValueError(
            f"precision has shape {tuple(precision.shape)}; directions of {num_channels} channels "
            f"need ({num_channels}, {num_channels})"
        )
    return objective.metric_root(precision.cpu())


def _check_channels(activations: Tensor, directions: Tensor) -> None:
    if activations.shape[1] != directions.shape[1]:
        raise ModelError(
            f"the feature map has {activations.shape[1]} channels, the directions {directions.shape[1]}; "
            "cut the network at the layer they were sampled from"
        )


def _check_finite(activations: Tensor, start: int) -> None:
    bad = (~torch.isfinite(activations).all(1)).nonzero()
    if len(bad):
        raise ModelError(
            f"the icon of direction {start + int(bad[0])} gives activations that are not finite; "
            "check the network's weights, or use arithmetic float32"
        )


def _concatenated(batches: Sequence[Icons], size_px: int, num_channels: int) -> Icons:
    if not batches:
        return Icons(
            torch.empty((0, size_px, size_px, 3), dtype=torch.uint8),
            torch.empty((0, num_channels)),
            torch.empty(0),
            torch.empty(0, dtype=torch.int32),
        )
    return Icons(*(torch.cat([getattr(batch, field.name) for batch in batches]) for field in fields(Icons)))
