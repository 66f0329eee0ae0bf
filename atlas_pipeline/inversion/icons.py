"""Feature inversion of directions: an atlas's icons and the activations they produce. S = side, P = plane."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.errors import ModelError
from atlas_pipeline.inversion import batch_memory, objective
from atlas_pipeline.inversion.canvas import to_network_input
from atlas_pipeline.inversion.loop import optimise
from atlas_pipeline.inversion.objectives import Direction
from atlas_pipeline.inversion.settings import InversionSettings
from atlas_pipeline.inversion.visible_window import FeatureMap
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.out_of_memory import is_out_of_memory


@dataclass(frozen=True, slots=True, eq=False)
class Icons:
    """Finished icons on the CPU, in the order of the directions."""

    images: Tensor
    """(icon, S, S, P) uint8: red, green, blue; with `alpha` also opacity."""
    activation: Tensor
    """(icon, channel) float32: centre activation of the finished uint8 icon, without transforms."""
    fidelity: Tensor
    """(icon,) float32: cosine between that activation and the direction."""
    objective: Tensor
    """(icon,) float32: objective of that activation."""
    steps: Tensor
    """(icon,) int32: steps taken by the attempt that was kept."""


def invert(
    feature_map: FeatureMap,
    directions: Tensor,
    seeds: Sequence[int],
    settings: InversionSettings | None = None,
    *,
    precision: Tensor | None = None,
    start: Tensor | None = None,
    magnitude: Tensor | None = None,
    device: str | torch.device = "cpu",
    batch_size: int | None = None,
    advance: Callable[[int], None] | None = None,
) -> Icons:
    """Make an icon for each direction: an image whose centre activation points along it.

    With several attempts, the one whose finished icon has the highest fidelity is kept. The first attempt
    uses the icon's own seed. See `optimise` for the other arguments and for what determines an icon.

    Args:    feature_map: images (B, 3, S, S) float32 in [0, 1] on `device` -> (B, channel, height, width),
             differentiable; images must not affect each other (batch norms in evaluation mode).
             directions: (icon, channel), finite, none zero. seeds: one per icon.
             precision: (channel, channel), only with `whitening`.
             start: (icon, S, S, P) uint8, icons to start from. magnitude: only for image "maco".
    Raises:  ValueError: a direction, precision, start or magnitude is invalid.
             ModelError: activations are not finite, or have other channels than the directions.
             ResourceError: not even one icon fits in memory.
    Source:  Carter et al., "Activation Atlas" (Distill 2019); see the modules of the objective and the image.
    Example:

    >>> import torch
    >>> layer = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1).requires_grad_(False)
    >>> icons = invert(layer, torch.eye(4), range(4), InversionSettings(size_px=16, steps=8))
    >>> icons.images.shape, icons.images.dtype
    (torch.Size([4, 16, 16, 3]), torch.uint8)
    >>> icons.activation.shape, icons.fidelity.shape
    (torch.Size([4, 4]), torch.Size([4]))
    """
    settings = InversionSettings() if settings is None else settings
    directions = _checked_directions(directions, seeds)
    root = _checked_root(settings, precision, directions.shape[1])
    num, attempts = len(directions), settings.attempts
    goal = Direction(
        feature_map,
        directions.repeat_interleave(attempts, 0),
        kind=settings.objective,
        power=settings.cosine_power,
        root=root,
        device=device,
    )
    drawn = optimise(
        goal,
        [attempt_seed(seed, attempt) for seed in seeds for attempt in range(attempts)],
        settings,
        start=None if start is None else start.repeat_interleave(attempts, 0),
        magnitude=magnitude,
        device=device,
        batch_size=batch_size,
        advance=_count_icons(advance, attempts),
    )
    activation, scores = _evaluate(goal, drawn.images, torch.device(device), directions.shape[1])
    _check_finite(activation, attempts)
    cosine = torch.nn.functional.cosine_similarity(
        activation.double(), directions.repeat_interleave(attempts, 0).double()
    ).float()
    best = cosine.view(num, attempts).argmax(1) if num else torch.empty(0, dtype=torch.int64)
    kept = torch.arange(num) * attempts + best
    return Icons(drawn.images[kept], activation[kept], cosine[kept], scores[kept], drawn.steps[kept])


def attempt_seed(seed: int, attempt: int) -> int:
    """Seed of an icon's attempt; attempt 0 uses the icon's own seed."""
    if attempt == 0:
        return seed
    digest = hashlib.blake2b(f"{seed}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _count_icons(advance: Callable[[int], None] | None, attempts: int) -> Callable[[int], None] | None:
    """Convert a callback that counts icons to one that counts attempts."""
    if advance is None or attempts == 1:
        return advance
    done = 0

    def counted(num: int) -> None:
        nonlocal done
        before, done = done // attempts, done + num
        advance(done // attempts - before)

    return counted


def _evaluate(
    goal: Direction, images: Tensor, device: torch.device, num_channels: int
) -> tuple[Tensor, Tensor]:
    """(activation (icon, channel), objective (icon,)) of finished icons, float32 on the CPU."""

    def activation_of(which: Tensor) -> Tensor:
        return goal.activations(to_network_input(images[which], device))

    with ieee(), torch.no_grad():
        try:
            parts = list(batch_memory.in_batches(activation_of, len(images), device))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise batch_memory.out_of_memory_error(images.shape[1], device) from error
        activation = torch.cat(parts) if parts else torch.empty(0, num_channels)
        scores = goal.scores(activation.to(device), torch.arange(len(images), device=device))
    return activation, scores.cpu()


def _checked_directions(directions: Tensor, seeds: Sequence[int]) -> Tensor:
    if directions.ndim != 2:
        raise ValueError(f"directions have shape {tuple(directions.shape)}; it must be (icon, channel)")
    if len(seeds) != len(directions):
        raise ValueError(f"{len(directions)} directions but {len(seeds)} seeds; give one seed an icon")
    directions = directions.detach().to("cpu", torch.float32)
    for bad, what in (
        (~torch.isfinite(directions).all(1), "is not finite"),
        ((directions == 0).all(1), "is zero and has no orientation; leave it out"),
    ):
        if bad.any():
            raise ValueError(f"direction {int(bad.nonzero()[0])} {what}")
    return directions


def _checked_root(settings: InversionSettings, precision: Tensor | None, num_channels: int) -> Tensor | None:
    if (settings.whitening > 0) != (precision is not None):
        raise ValueError(
            f"whitening is {settings.whitening:g}, precision "
            f"{'given' if precision is not None else 'missing'}; whitening above 0 needs one, 0 takes none"
        )
    if precision is None:
        return None
    if tuple(precision.shape) != (num_channels, num_channels):
        raise ValueError(
            f"precision has shape {tuple(precision.shape)}; directions of {num_channels} channels "
            f"need ({num_channels}, {num_channels})"
        )
    return objective.metric_root(precision.cpu(), settings.whitening)


def _check_finite(activations: Tensor, attempts: int) -> None:
    bad = (~torch.isfinite(activations).all(1)).nonzero()
    if len(bad):
        raise ModelError(
            f"the icon of direction {int(bad[0]) // attempts} gives activations that are not finite; "
            "check the network's weights, or set arithmetic to float32"
        )
