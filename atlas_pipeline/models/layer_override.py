"""Logits of a network with one layer's output replaced. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.graph import same
from atlas_pipeline.models.held_tensor import held_tensor, with_tensor
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.replay import Recording
from atlas_pipeline.models.suffix import suffix

Replace = Callable[[Tensor], Tensor]
"""Maps a layer's output to its replacement, in new memory, since later layers may work in place.

Where a tuple or another container holds the output, it gets the tensor alone."""


def logits_with(
    network: Network, images: Tensor, layer: str, output: Tensor | None = None
) -> Callable[[Replace], Tensor]:
    """A function from a replacement of the output of ``layer`` to the logits (B, class).

    Its calls begin at the layer where they can: with ``output``, if the logits depend on nothing else
    (``suffix``), and otherwise from the second call on, with a record of the first (``replay``).

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        output: the layer's output for these images (see ``layer_outputs``), if already computed.
    """
    if output is not None and _has_own_shape(network, layer, output):
        tail = suffix(network, layer)
        if tail is not None:
            return lambda replace: network.checked_logits(tail.forward(replace(output)))
    if can_replay(network, layer):
        return _Rerun(network, images, layer)
    return lambda replace: _logits_through(network, images, layer, replace, network.runs[layer].times)


def can_replay(network: Network, layer: str) -> bool:
    """Whether a rerun may replay the modules before the layer; tried once per layer.

    Code that passes values along by other ways than its modules' outputs may give other logits then.
    """
    if layer not in network.replays:
        network.replays[layer] = _replays(network, layer)
    return network.replays[layer]


def by_position(positions: Any) -> list[Tensor]:
    """Positions (B, ..., 2) as one (B, 2) for each position of an image."""
    positions = torch.as_tensor(positions, dtype=torch.long)
    return list(positions.reshape(len(positions), -1, 2).unbind(1))


def joined(values: Sequence[Tensor], positions: Any) -> Tensor:
    """The inverse of ``by_position`` for what belongs to the positions: (B, K) each -> (B, ..., K)."""
    shape = torch.as_tensor(positions).shape[:-1]
    return torch.stack(list(values), dim=1).reshape(*shape, -1)


def scaled(output: Tensor, form: MapForm, positions: Any, share: float) -> Tensor:
    """A copy of a layer's output with each image's activation at its position multiplied by ``share``.

    Args:   positions: (B, 2) integers, row and column in the layer's map.
    Raises: IndexError: a position outside the map.
    """
    copy = output.clone()
    at = form.place(output, positions)
    copy[at] = copy[at] * share
    return copy


def _has_own_shape(network: Network, layer: str, output: Tensor) -> bool:
    """Whether an output is of images of the network's own size, which a suffix needs."""
    run = network.runs[layer]
    return run.form is not None and run.form.shape_of_one(output) == run.shape


class _Rerun:
    """The logits of a full forward pass at first, and of reruns that replay the modules before the layer."""

    def __init__(self, network: Network, images: Tensor, layer: str) -> None:
        self.network, self.images, self.layer = network, images, layer
        self.recording: Recording | None = None

    def __call__(self, replace: Replace) -> Tensor:
        times = self.network.runs[self.layer].times
        if self.recording is None:
            recording = Recording(self.network.module, self.layer, times)
            with recording.recorded():
                logits = _logits_through(self.network, self.images, self.layer, replace, times)
            self.recording = recording
            return logits
        with self.recording.replayed():
            times = self.recording.num_layer_runs
            return _logits_through(self.network, self.images, self.layer, replace, times)


@ieee()
def _replays(network: Network, layer: str) -> bool:
    """Whether a replay gives the logits of a full forward pass for another output of the layer."""
    images, others = (
        noise_images(network.preprocess.crop, seed=seed, num_images=2).to(network.device) for seed in (0, 1)
    )
    times = network.runs[layer].times

    def halved(output: Tensor) -> Tensor:
        return output / 2

    rerun = _Rerun(network, images, layer)
    with torch.no_grad():
        expected = _logits_through(network, images, layer, halved, times)
        try:
            rerun(torch.clone)
            # Other images between, so that the replay does not read what the code may keep of these.
            network.logits(others)
            return same(rerun(halved), expected)
        except Exception as error:
            # User code may raise anything when its modules are not run.
            if is_out_of_memory(error):
                raise
            return False


def _logits_through(network: Network, images: Tensor, layer: str, replace: Replace, times: int) -> Tensor:
    """The logits of a forward pass with the layer's output replaced in its last run of ``times``."""
    runs_left = times

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        nonlocal runs_left
        runs_left -= 1
        tensor = held_tensor(output)
        return with_tensor(output, replace(tensor)) if runs_left == 0 and tensor is not None else None

    with hooked(network.module, {layer: hook}):
        return network.logits(images)
