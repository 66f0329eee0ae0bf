"""Weights from the units of one layer to those of a later one, multiplied out along all paths between them.

Between the two layers, linear operations are kept (convolutions, batch norms of fixed statistics, sums,
concatenations, average pools). The others are replaced: activation functions and local response norms pass
everything on, and a max-pool becomes the average pool of its window. The result is linear, and its derivative
is the kernel from each earlier unit to each later one. Additive constants play no part.

U = later unit, K = earlier unit, R, S = rows and columns of the kernel.
Source: Voss et al., "Visualizing Weights" (Distill 2021), expanded weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.block_ends import block_ends
from atlas_pipeline.models.graph import traced_network
from atlas_pipeline.models.layer_tangents import batch_norm_scale
from atlas_pipeline.models.network import Network

UNITS_AT_ONCE = 32


class NoWeightsError(Exception):
    """There are no weights between two layers; the message says why."""


def layers_beside(network: Network, layer: str) -> tuple[str | None, str | None]:
    """The ends of blocks before and after a layer; None where there is none.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> layers_beside(open_network(ModelSpec(source="demo")), "mixed4")
    ('mixed3', 'mixed5')
    """
    order = list(network.runs)
    ends = [end for end in block_ends(network) if not _is_same_block(end, layer)]
    before = [end for end in ends if order.index(end) < order.index(layer)]
    after = [end for end in ends if order.index(end) > order.index(layer)]
    return (before[-1] if before else None), (after[0] if after else None)


def _is_same_block(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.")


def expanded_weights(network: Network, earlier: str, later: str) -> Iterator[tuple[slice, Tensor]]:
    """The kernels from all units of one layer to all units of another, some later units at a time.

    Yields: the later units, and their kernels (U, K, R, S) float32 on the CPU: the change of a later unit at
            its map's centre as an earlier unit grows by 1 at a position, rows and columns around the centre.
    Raises: NoWeightsError: the network cannot be traced, one layer does not follow the other, or an operation
            between them cannot be made linear.
    """
    linear = _Linear(network, earlier, later)
    rows, cols = _window(linear)
    start, end = linear.ends(UNITS_AT_ONCE)
    row, col = end.shape[-2] // 2, end.shape[-1] // 2
    for first in range(0, end.shape[1], UNITS_AT_ONCE):
        units = torch.arange(first, min(first + UNITS_AT_ONCE, end.shape[1]))
        # An image for each unit: the gradient of its centre is its kernel.
        with ieee():
            centres = end[torch.arange(len(units)), units, row, col]
            (kernels,) = torch.autograd.grad(centres.sum(), start, retain_graph=True)
        yield slice(first, first + len(units)), kernels[: len(units), :, rows, cols].cpu()


def _window(linear: _Linear) -> tuple[slice, slice]:
    """Rows and columns of the earlier map that the later map's centre depends on."""
    start, end = linear.ends(1, absolute=True)
    row, col = end.shape[-2] // 2, end.shape[-1] // 2
    (gradient,) = torch.autograd.grad(end[0, :, row, col].sum(), start)
    reach = gradient[0].amax(0) > 0
    found = []
    for axis in (1, 0):
        places = reach.any(axis).nonzero().flatten().tolist() or [0]
        found.append(slice(places[0], places[-1] + 1))
    return found[0], found[1]


class _Linear(fx.Interpreter):
    """Runs a network on grey images up to a layer; from an earlier layer on, its linear part on zeros."""

    def __init__(self, network: Network, earlier: str, later: str) -> None:
        traced = traced_network(network)
        if traced is None:
            raise NoWeightsError("the network's code cannot be traced")
        for layer in (earlier, later):
            if layer not in traced.outputs or str(network.runs[layer].form) != "channels first":
                raise NoWeightsError(f"the output of {layer} is no map with its channels first")
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        graph.graph_copy(traced.graph, copies)
        end = copies[traced.outputs[later]]
        self._earlier = copies[traced.outputs[earlier]]
        nodes = list(graph.nodes)
        for node in reversed(nodes[nodes.index(end) + 1 :]):
            graph.erase_node(node)
        graph.output(end)
        self._follows = {self._earlier}
        for node in nodes:
            if self._follows.intersection(node.all_input_nodes):
                self._follows.add(node)
        if end not in self._follows or end is self._earlier:
            raise NoWeightsError(f"{later} does not follow from {earlier}")
        super().__init__(fx.GraphModule(traced.root, graph))
        self._network, self._absolute = network, False
        self._start = torch.empty(0)

    def ends(self, num_images: int, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
        """The map of zeros at the earlier layer, and the map at the later one that is a function of it.

        absolute: take the absolute values of all weights.
        """
        side = self._network.preprocess.crop
        grey = torch.full((num_images, 3, side, side), 0.5, device=self._network.device)
        self._absolute = absolute
        with ieee(), torch.enable_grad():
            end = self.run(self._network.normalise(grey))
        return self._start, end

    def run_node(self, n: fx.Node) -> Any:
        if n not in self._follows:
            return super().run_node(n)
        if n is self._earlier:
            self._start = torch.zeros_like(super().run_node(n)).requires_grad_()
            return self._start
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op == "output":
            return args[0]
        if n.op == "call_module":
            return self._of_module(self.module.get_submodule(str(n.target)), args[0])
        followed = {id(self.env[one]) for one in n.all_input_nodes if one in self._follows}
        name = str(n.target) if n.op == "call_method" else getattr(n.target, "__name__", str(n.target))
        return self._of_function(n.target, name.strip("_"), args, kwargs, lambda one: id(one) in followed)

    def _weight(self, weight: Any) -> Any:
        return abs(weight) if self._absolute else weight

    def _of_module(self, module: nn.Module, value: Tensor) -> Tensor:
        if isinstance(module, _PASSED_ON):
            return value
        if type(module) is nn.Conv2d:
            return module._conv_forward(value, self._weight(module.weight), None)
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            scale = batch_norm_scale(module.running_var, module.weight, module.eps)
            return value * self._weight(scale).view(1, -1, 1, 1)
        if isinstance(module, nn.AvgPool2d | nn.AdaptiveAvgPool2d):
            return module(value)
        if isinstance(module, nn.MaxPool2d):
            return _averaged(
                value, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
            )
        raise NoWeightsError(f"{type(module).__name__} stands between the layers and is not linear")

    def _of_function(
        self,
        target: Any,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        follows: Callable[[Any], bool],
    ) -> Any:
        if name in _PASSED_ON_NAMES:
            return args[0]
        if name == "max_pool2d":
            return _averaged(args[0], *args[1:], **{key: one for key, one in kwargs.items() if key in _POOL})
        if name in ("avg_pool2d", "adaptive_avg_pool2d"):
            return target(*args, **kwargs)
        if name == "conv2d":
            named = dict(zip(_CONVOLUTION, args, strict=False)) | dict(kwargs)
            return F.conv2d(**{**named, "weight": self._weight(named["weight"]), "bias": None})
        if name == "batch_norm":
            named = dict(zip(_NORM, args, strict=False)) | dict(kwargs)
            if not named.get("training"):
                scale = batch_norm_scale(named["running_var"], named.get("weight"), named.get("eps", 1e-5))
                return named["input"] * self._weight(scale).view(1, -1, 1, 1)
        if name in ("cat", "concat", "concatenate"):
            tensors, *rest = args or (kwargs["tensors"],)
            kept = [one if follows(one) else torch.zeros_like(one) for one in tensors]
            return torch.cat(kept, *rest, **{key: one for key, one in kwargs.items() if key != "tensors"})
        if name in ("add", "iadd") and "alpha" not in kwargs:
            parts = [one if follows(one) else _zero_like(one) for one in args[:2]]
            return parts[0] + parts[1]
        if name in ("mul", "imul") and follows(args[0]) != follows(args[1]):
            value, factor = args if follows(args[0]) else reversed(args)
            return value * self._weight(factor)
        raise NoWeightsError(f"{name} stands between the layers and is not linear")


def _zero_like(value: Any) -> Any:
    return torch.zeros_like(value) if isinstance(value, Tensor) else 0


_PASSED_ON = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.PReLU, nn.Mish,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.LocalResponseNorm,
)  # fmt: skip
_PASSED_ON_NAMES = (
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "hardswish", "dropout", "local_response_norm",
    "contiguous", "clone", "detach",
)  # fmt: skip
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


def _averaged(
    value: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: Any = False,
) -> Tensor:
    """The average pool of a max-pool's windows."""
    if dilation not in (1, (1, 1), [1, 1]):
        raise NoWeightsError("a dilated max-pool stands between the layers")
    return F.avg_pool2d(value, kernel_size, stride, padding, ceil_mode, count_include_pad=False)
