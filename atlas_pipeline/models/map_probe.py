"""The probe: where a change of the image shows in each layer's output.

One forward pass takes an image and copies of it with one patch changed. Hooks reduce every output immediately
to how much each of its positions changed, so memory holds no more than in any forward pass. B = batch, C =
channels, K = changed images, S = side in pixels, T = tokens.
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
# Cells of a 4 x 4 lattice over the image, two in every row and column: no rotation, flip or transposition of
# the image maps more than two of them to themselves.
PLACES = ((0, 1), (0, 3), (1, 0), (1, 2), (2, 0), (2, 3), (3, 1), (3, 2))
# More channels and positions than these add nothing.
MAX_CHANNELS = 64
MAX_LINES = 32
# Larger images run in smaller batches, to save memory.
LARGE_PX = 256
BATCH = 9
LARGE_IMAGE_BATCH = 3


@dataclass(frozen=True, slots=True)
class Change:
    """How much an output changed from one image to each of K others, as mean absolute differences.

    positions: (K, rows, columns), or (K, T). channels: (K, C), at most ``MAX_CHANNELS``.
    """

    positions: Tensor
    channels: Tensor


# Layer -> reading -> change.
Changes = dict[str, dict[Axes, Change]]


def patch_box(place: tuple[int, int], size_px: int) -> tuple[int, int, int]:
    """First row, first column and side, in pixels, of the changed patch at a place."""
    side = max(size_px // 8, 1)
    row, column = (round((line + 0.5) * size_px / LATTICE - side / 2) for line in place)
    return row, column, side


def patch_images(size_px: int) -> Tensor:
    """(1 + K, 3, S, S) float32 in [0, 1]: an image, its copies with one changed patch, and another image.

    The patches lie at ``PLACES``.
    """
    base = noise_images(size_px, seed=0, num_images=1)[0]
    blocks = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)) > 0.5
    texture = F.interpolate(blocks.float()[None], size=(size_px, size_px), mode="nearest")[0]
    images = [base]
    for place in PLACES:
        row, column, side = patch_box(place, size_px)
        image = base.clone()
        # One patch for all places, so that only the place differs.
        image[:, row : row + side, column : column + side] = texture[:, :side, :side]
        images.append(image)
    return torch.stack([*images, texture])


def changes(
    module: nn.Module,
    images: Tensor,
    normalise: Callable[[Tensor], Tensor],
    wanted: Mapping[str, Sequence[Axes]],
) -> Changes:
    """Measure how much each position of the layers' outputs changes from the first image to every other.

    If the network fails on these images, the layers that ran before the failure are returned.

    Args: images: ``patch_images``. normalise: from images to the input of ``module``. wanted: layer ->
          readings.
    """
    step = BATCH if images.shape[-1] <= LARGE_PX else LARGE_IMAGE_BATCH
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
    """Hooks that reduce outputs; for a layer that runs several times, the last run counts."""

    def __init__(self, wanted: Mapping[str, Sequence[Axes]], batch: int) -> None:
        self.wanted, self.batch = wanted, batch
        self.seen: Changes = {}
        # A container returns its last child's output, which is reduced only once.
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
    """The change, on the CPU; None for an output that does not belong to this batch."""
    if output.dim() not in (3, 4) or not output.numel():
        return None
    if axes == "sequence first":
        output = output.transpose(0, 1)
    if output.shape[0] != batch:
        return None
    channel_axis = 1 if axes == "channels first" else output.dim() - 1
    for axis in range(1, output.dim()):
        most = MAX_CHANNELS if axis == channel_axis else MAX_LINES
        if output.dim() == 4 or axis == channel_axis:
            output = _subsampled(output, axis, most)
    difference = (output[1:].float() - output[:1].float()).abs_()
    position_axes = [axis for axis in range(1, output.dim()) if axis != channel_axis]
    positions, channels = difference.mean(channel_axis), difference.mean(position_axes)
    return Change(positions.nan_to_num(0.0, 0.0, 0.0).cpu(), channels.nan_to_num(0.0, 0.0, 0.0).cpu())


def _subsampled(output: Tensor, axis: int, most: int) -> Tensor:
    """At most ``most`` evenly spaced entries along an axis."""
    step = -(-output.shape[axis] // most)
    if step == 1:
        return output
    index: list[slice] = [slice(None)] * output.dim()
    index[axis] = slice(step // 2, None, step)
    return output[tuple(index)]
