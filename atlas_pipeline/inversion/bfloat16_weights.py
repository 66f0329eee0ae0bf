"""A network whose weights are bfloat16 already, so that autocast need not convert them at every step."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network")

# Autocast runs these in bfloat16. A subclass may compute with its weights first, in float32.
_CONVERTED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


def with_bfloat16_weights(network: _Network) -> _Network:
    """A copy of a module with bfloat16 convolutions and linear layers, for use within autocast.

    Its values within bfloat16 autocast equal the module's: autocast rounds the weights in the same way. The
    copy shares all other parameters and buffers. Anything that is no module, or cannot be copied, is returned
    as it is.
    """
    if not isinstance(network, nn.Module):
        return network
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    # A user's module may raise anything when it is copied.
    with suppress(Exception):
        converted = copy.deepcopy(network, shared)
        for module in converted.modules():
            if type(module) in _CONVERTED:
                _convert(module)
        return converted
    return network


def _convert(module: nn.Module) -> None:
    """Give a layer bfloat16 parameters of its own; the float32 ones may belong to other modules too."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        rounded = nn.Parameter(parameter.detach().to(torch.bfloat16), parameter.requires_grad)
        setattr(module, name, rounded)
