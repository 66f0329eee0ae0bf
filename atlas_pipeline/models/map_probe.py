"""Where in each layer's output a change of the image shows: what its feature map must follow.

One forward of an image and of copies of it in which one patch is changed. Hooks reduce every output at once
to how much each of its positions changed, so that memory holds no more than a forward needs anyway.
B = batch, C = channels, K = changed images, S = side in pixels, T = tokens.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.execution import IMAGE_FAILURES, Hook, hooked
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.map_form import Axes

LATTICE = 4
# Cells of a 4 x 4 lattice over the image, two in every row and column: no turn, flip or transposition of the
# image brings more than two of them to where they were.
PLACES = ((0, 1), (0, 3), (1, 0), (1, 2), (2, 0), (2, 3), (3, 1), (3, 2))
# More channels and positions than these tell nothing new of where a change shows.
MOST_CHANNELS = 64
MOST_LINES = 32
# Larger images go through the network in smaller batches, for memory.
LARGE_PX = 256
BATCH = 9
BATCH_OF_LARGE = 3


@dataclass(frozen=True, slots=True)
class Change:
    """How much an output changed from one image to each of K others, as the mean of absolute differences.

    positions: (K, rows, columns), or (K, T). channels: (K, C), at most ``MOST_CHANNELS``.
    """

    positions: Tensor
    channels: Tensor


# Layer -> reading -> change.
Changes = dict[str, dict[Axes, Change]]


def patch_box(place: tuple[int, int], size_px: int) -> tuple[int, int, int]:
    """First row, first column and side, in pixels, of the patch that is changed at a place."""
    side = max(size_px // 8, 1)
    row, column = (round((line + 0.5) * size_px / LATTICE - side / 2) for line in place)
    return row, column, side


def patch_images(size_px: int) -> Tensor:
    """(1 + K, 3, S, S) float32 in [0, 1]: an image, it with one patch changed, and another image altogether.

    The patches lie at ``PLACES``.
    """
    base = noise_images(size_px, seed=0, num_images=1)[0]
    blocks = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)) > 0.5
    texture = F.interpolate(blocks.float()[None], size=(size_px, size_px), mode="nearest")[0]
    images = [base]
    for place in PLACES:
        row, column, side = patch_box(place, size_px)
        image = base.clone()
        # The same patch everywhere: what it does differs by its place alone.
        image[:, row : row + side, column : column + side] = texture[:, :side, :side]
        images.append(image)
    return torch.stack([*images, texture])


def changes(
    module: nn.Module,
    images: Tensor,
    normalise: Callable[[Tensor], Tensor],
    wanted: Mapping[str, Sequence[Axes]],
) -> Changes:
    """How much each position of the outputs of some layers changes from the first image to each other one.

    A network that fails on these images gives what it ran before it failed; {} where that is nothing.

    Args: images: ``patch_images``. normalise: to what ``module`` takes. wanted: layer -> readings.
    """
    step = BATCH if images.shape[-1] <= LARGE_PX else BATCH_OF_LARGE
    found: dict[str, dict[Axes, list[Change]]] = {}
    for start in range(1, len(images), step):
        batch = normalise(torch.cat([images[:1], images[start : start + step]]))
        recorder = _Recorder(wanted, len(batch))
        with torch.no_grad(), suppress(*IMAGE_FAILURES), hooked(module, recorder.hooks()):
            module(batch)
        for layer, by_axes in recorder.seen.items():
            for axes, change in by_axes.items():
                found.setdefault(layer, {}).setdefault(axes, []).append(change)
    complete = len(images) - 1
    return {
        layer: {
            axes: parts[0] if len(parts) == 1 else _joined(parts)
            for axes, parts in by_axes.items()
            if sum(len(part.positions) for part in parts) == complete
        }
        for layer, by_axes in found.items()
    }


def _joined(parts: Sequence[Change]) -> Change:
    return Change(torch.cat([part.positions for part in parts]), torch.cat([part.channels for part in parts]))


class _Recorder:
    """Hooks that reduce outputs; a layer that runs several times is known by its last run."""

    def __init__(self, wanted: Mapping[str, Sequence[Axes]], batch: int) -> None:
        self.wanted, self.batch = wanted, batch
        self.seen: Changes = {}
        # Containers return what their last child returned: it is reduced once.
        self.last: tuple[weakref.ref[Tensor], int, dict[Axes, Change]] | None = None

    def hooks(self) -> dict[str, Hook]:
        return {layer: self._hook_for(layer) for layer in self.wanted}

    def _hook_for(self, layer: str) -> Hook:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor = held_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                self.seen[layer] = self._reduced(tensor, self.wanted[layer])

        return hook

    def _reduced(self, output: Tensor, readings: Sequence[Axes]) -> dict[Axes, Change]:
        if self.last is not None:
            known, version, reduced = self.last
            if known() is output and version == output._version and set(readings) <= set(reduced):
                return reduced
        reduced = {}
        for axes in readings:
            change = _change(output, axes, self.batch)
            if change is not None:
                reduced[axes] = change
        self.last = (weakref.ref(output), output._version, reduced)
        return reduced


def _change(output: Tensor, axes: Axes, batch: int) -> Change | None:
    """The change, on the CPU; None for an output that is not of this batch."""
    if output.dim() not in (3, 4) or not output.numel():
        return None
    if axes == "sequence first":
        output = output.transpose(0, 1)
    if output.shape[0] != batch:
        return None
    channel_axis = 1 if axes == "channels first" else output.dim() - 1
    for axis in range(1, output.dim()):
        most = MOST_CHANNELS if axis == channel_axis else MOST_LINES
        if output.dim() == 4 or axis == channel_axis:
            output = _thinned(output, axis, most)
    difference = (output[1:].float() - output[:1].float()).abs_()
    of_places = [axis for axis in range(1, output.dim()) if axis != channel_axis]
    positions, channels = difference.mean(channel_axis), difference.mean(of_places)
    return Change(positions.nan_to_num(0.0, 0.0, 0.0).cpu(), channels.nan_to_num(0.0, 0.0, 0.0).cpu())


def _thinned(output: Tensor, axis: int, most: int) -> Tensor:
    """At most ``most`` evenly spread entries along an axis."""
    step = -(-output.shape[axis] // most)
    if step == 1:
        return output
    index: list[slice] = [slice(None)] * output.dim()
    index[axis] = slice(step // 2, None, step)
    return output[tuple(index)]
