"""Feature maps read by forward hooks that are always removed. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.execution import Hook, hooked
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.network import Network


class _ForwardDoneError(Exception):
    """All requested outputs are captured; the rest of the forward pass is skipped."""


@contextmanager
def capture(
    module: nn.Module, layers: Sequence[str], *, stop_after: Mapping[str, int] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Fill the yielded dict with layer -> output as ``module`` runs inside the block; the last run counts.

    Outputs are copies, since later in-place operations would alter them; gradients flow through the copies.
    For a tuple, list or mapping the output is its first tensor.

    Args: stop_after: how often each layer runs in one forward pass. When all of them have run that often, the
          forward pass stops and the block ends.
    """
    outputs: dict[str, Tensor] = {}
    left = dict(stop_after) if stop_after is not None else None

    def hook_for(layer: str) -> Hook:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor = held_tensor(output)
            is_last = False
            if left is not None:
                left[layer] -= 1
                is_last = not any(count > 0 for count in left.values())
            if tensor is not None:
                # No copy of the last one: nothing runs after it that could alter it.
                outputs[layer] = tensor if is_last else tensor.clone()
            if is_last:
                raise _ForwardDoneError

        return hook

    with hooked(module, {layer: hook_for(layer) for layer in layers}):
        try:
            yield outputs
        except _ForwardDoneError:
            if left is None:
                raise


def feature_maps(network: Network, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The feature maps of the given layers, from one forward pass that stops after the last of them.

    Tokens are arranged in rows and columns; tokens without a position are dropped (see ``map_form``).

    Args:    images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
    Returns: layer -> (B, C, height, width) float32, in the order of ``layers``; differentiable in ``images``.
    Raises:  ModelError: no such layer, or a layer without a spatial map.

    Example:
        >>> import torch
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> network = open_network(ModelSpec(source="demo"))
        >>> maps = feature_maps(network, torch.rand(2, 3, 64, 64), ["mixed3", "mixed4"])
        >>> maps["mixed4"].shape
        torch.Size([2, 128, 8, 8])
    """
    outputs = layer_outputs(network, images, layers)
    return {layer: network.feature_map(layer, output) for layer, output in outputs.items()}


def layer_outputs(network: Network, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of the given layers as the network's code made them; the rest as for ``feature_maps``.

    For a tuple, list or mapping the output is its first tensor.
    """
    from atlas_pipeline.models.layers import check_layers

    check_layers(network, layers)
    times = {layer: network.runs[layer].times for layer in layers}
    with ieee(), capture(network.module, list(times), stop_after=times) as outputs:
        network.module(network.normalise(images))
    missing = [layer for layer in layers if layer not in outputs]
    if missing:
        raise ModelError(
            f"layer '{missing[0]}' of {network.name} did not run for these images; take another layer"
        )
    return {layer: outputs[layer] for layer in layers}
