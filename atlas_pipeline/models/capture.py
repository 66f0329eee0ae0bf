"""Feature maps by hooks that are always released. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.execution import Hook, hooked
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.network import Network


class _ForwardDoneError(Exception):
    """Everything asked for is there: the rest of the forward is not worth its time."""


@contextmanager
def capture(
    module: nn.Module, layers: Sequence[str], *, stop_after: Mapping[str, int] | None = None
) -> Iterator[dict[str, Tensor]]:
    """Within the block a forward of ``module`` fills the yielded dict: layer -> its output, the last run's.

    Args: stop_after: how often each layer runs in a forward; once all have, the forward is stopped, and the
          block is left.
    Outputs are copies: what follows a layer may work in place and would alter them. Gradients flow through.
    Of a tuple, list or mapping it is the first tensor.
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
                # After the last one nothing follows that could alter it: no copy.
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
    """The feature maps of some layers from one forward that stops at the last of them.

    Tokens are laid out as rows and columns, without those that have no place: see ``map_form``.

    Args:    images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
    Returns: layer -> (B, C, height, width) float32, in the order of ``layers``; differentiable in ``images``.
    Raises:  ModelError: a layer that is not there, or has no spatial map.
    """
    from atlas_pipeline.models.layers import check_layers

    check_layers(network, layers)
    times = {layer: network.runs[layer].times for layer in layers}
    with capture(network.module, list(times), stop_after=times) as outputs:
        network.module(network.normalise(images))
    missing = [layer for layer in layers if layer not in outputs]
    if missing:
        raise ModelError(
            f"layer '{missing[0]}' of {network.name} did not run for these images; take another layer"
        )
    return {layer: network.feature_map(layer, outputs[layer]) for layer in layers}
