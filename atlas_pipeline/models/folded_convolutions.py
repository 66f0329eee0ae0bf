"""Convolutions with the batch norm after them folded in, for tangents. C = channels.

Both are found as modules and as functions: subclasses with a forward of their own, such as those that pad as
TensorFlow does, are traced to functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn

from atlas_pipeline.models.layer_tangents import batch_norm_scale

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_BATCH_NORM = (
    "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps",
)  # fmt: skip

FoldedConvolution = Callable[[Tensor], Tensor]
"""Maps the tangent of the convolution's input to that of the batch norm's output."""


def folded_convolutions(root: nn.Module, graph: fx.Graph) -> dict[fx.Node, tuple[fx.Node, FoldedConvolution]]:
    """By batch norm of fixed statistics that alone reads a convolution: that convolution, and both folded."""
    found = {}
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or len(before.users) != 1:
            continue
        scale = _batch_norm_scale(root, node)
        folded = None if scale is None else _scaled_convolution(root, before, scale.view(-1, 1, 1, 1))
        if folded is not None:
            found[node] = before, folded
    return found


def _batch_norm_scale(root: nn.Module, node: fx.Node) -> Tensor | None:
    """Factors (C,) of a batch norm; None if it is none, or normalises by the batch."""
    if node.op == "call_module":
        norm = root.get_submodule(str(node.target))
        if type(norm) is not nn.BatchNorm2d or norm.training or norm.running_var is None:
            return None
        return batch_norm_scale(norm.running_var, norm.weight, norm.eps)
    if node.target is not F.batch_norm:
        return None
    settings = _arguments(root, node, _BATCH_NORM)
    if settings is None or settings.get("training") or settings["running_var"] is None:
        return None
    return batch_norm_scale(settings["running_var"], settings.get("weight"), settings.get("eps", 1e-5))


def _scaled_convolution(root: nn.Module, node: fx.Node, scale: Tensor) -> FoldedConvolution | None:
    """A convolution without its bias, with its output channels scaled; None if it is none."""
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        if type(module) is not nn.Conv2d:
            return None
        weight = module.weight * scale
        # _conv_forward also covers the padding modes of the module.
        return lambda tangent: module._conv_forward(tangent, weight, None)
    settings = _arguments(root, node, _CONVOLUTION) if node.target is F.conv2d else None
    if settings is None:
        return None
    weight = settings.pop("weight") * scale
    settings["bias"] = None
    return lambda tangent: F.conv2d(tangent, weight, **settings)


def _arguments(root: nn.Module, node: fx.Node, names: Sequence[str]) -> dict[str, Any] | None:
    """A function's arguments after the first, by name; None if any is neither a constant nor a parameter."""
    arguments = dict(zip(names, node.args, strict=False)) | node.kwargs
    del arguments[names[0]]
    for name, value in arguments.items():
        if isinstance(value, fx.Node):
            if value.op != "get_attr":
                return None
            arguments[name] = attrgetter(str(value.target))(root)
    return arguments
