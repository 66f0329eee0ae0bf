"""The price of a layer's attributions, in forward passes. P = positions of an image, K = classes.

Counted are the multiplications of matrix products and convolutions, so the number is the same on every
machine. It says nothing of operations that are bound by memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.layer_override import can_replay
from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest, layer_samples
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.shared_trial import shared_pass
from atlas_pipeline.models.suffix import suffix


def expensive_because(network: Network, layer: str, how: AttributionRequest) -> str | None:
    """Why a layer's attributions cost more than they have to; None if they do not.

    Gradients have to come from the pass that all layers and positions share; other methods have to begin at
    the layer.
    """
    if how.method == "gradient":
        found = shared_pass(network, layer, how.maxpool_gradient)
        is_zero = attribution_mode(network, None, layer, how.maxpool_gradient).mode == "none"
        return found if isinstance(found, str) and not is_zero else None
    if suffix(network, layer) is not None or can_replay(network, layer):
        return None
    return "no forward pass can begin at the layer"


@ieee()
def forwards_of_position_and_image(
    network: Network, layer: str, how: AttributionRequest, num_positions: int
) -> tuple[float, float]:
    """Forward passes that one position more of an image is worth, and an image with P positions.

    The forward pass for the activations themselves is part of the image's. The cost is measured for one and
    two positions and classes, and grows by the same amount for each further one.
    """
    images = noise_images(network.preprocess.crop, seed=0, num_images=2).to(network.device)
    form, shape = network.runs[layer].form, network.runs[layer].shape
    assert form is not None
    assert shape is not None
    rows, columns = form.grid(shape)

    def cost(num_positions: int, num_classes: int) -> int:
        places = np.arange(num_positions) % (rows * columns)
        positions = np.stack([places // columns, places % columns], axis=1)
        request = LayerRequest(
            layer=layer,
            positions=np.tile(positions, (len(images), 1, 1)),
            attribution=replace(how, classes=tuple(range(num_classes))),
        )
        return _multiplications(lambda: layer_samples(network, images, [request]))

    with torch.no_grad():
        forward = _multiplications(lambda: network.logits(images))
    # The trials of the layer are not part of its price.
    cost(1, 1)
    first = cost(1, 1)
    num_classes = network.num_classes if how.classes is None else len(how.classes)
    for_classes = (num_classes - 1) * (cost(1, 2) - first) if num_classes > 1 else 0
    of_position = cost(2, 1) - first
    return of_position / forward, (first + for_classes + (num_positions - 1) * of_position) / forward


class _Counter(TorchDispatchMode):
    """Counts the multiplications of the operations that torch knows the number for."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=output)
        return output


def _multiplications(run: Callable[[], Any]) -> int:
    with _Counter() as counter:
        run()
    return counter.total
