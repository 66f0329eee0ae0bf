"""The penultimate features of a classifier: the input of the module that gives its logits.

B = batch, D = features. These are the network's own description of an image, just before it is reduced to
classes: the usual representation for comparing images by a network that was trained for something else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.execution import hooked
from atlas_pipeline.models.network import Network


def logits_module(network: Network) -> str:
    """Name of the module that gives the logits: the last with a weight matrix and an output for each class.

    It is a linear layer, or a convolution whose channels are the classes. Modules without such a weight
    (softmax, dropout, pooling, batch norm) do not count.

    Raises: ModelError: the network has no such module.
    """
    modules = dict(network.module.named_modules())
    for name, run in reversed(network.runs.items()):
        weight = getattr(modules[name], "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim < 2 or run.shape is None:
            continue
        # The classes are the first axis of a map (class, row, column), the last one of anything else.
        classes = run.shape[0] if isinstance(modules[name], nn.Conv2d) else run.shape[-1]
        if classes == network.num_classes:
            return name
    raise ModelError(
        f"{network.name} has no linear layer with {network.num_classes} outputs, whose input could be "
        "compared; give a network whose logits come from a module such as nn.Linear"
    )


def penultimate_features(network: Network, images: Tensor) -> Tensor:
    """The input of `logits_module`, averaged over the positions or tokens if it has any.

    Args:    images: (B, 3, side, side) in [0, 1], of the size that the network takes, on its device.
    Returns: (B, D) float32.
    Raises:  ModelError: no such module, or it gets no tensor.

    Example:
        >>> from atlas_pipeline.models import ModelSpec, open_network
        >>> network = open_network(ModelSpec(source="demo"))
        >>> penultimate_features(network, torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 192])
    """
    name = logits_module(network)
    seen: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, _: Any) -> None:
        if not inputs or not isinstance(inputs[0], Tensor):
            raise ModelError(
                f"module '{name}' of {network.name} gets no tensor; its input cannot be compared"
            )
        given = inputs[0].float()
        is_map = isinstance(module, nn.Conv2d)
        seen[:] = [
            given.mean(dim=(2, 3)) if is_map else given.reshape(len(given), -1, given.shape[-1]).mean(dim=1)
        ]

    with ieee(), torch.no_grad(), hooked(network.module, {name: hook}):
        network.module(network.normalise(images))
    return seen[0]
