"""Feature maps with the values before their ReLUs. B = batch, C = channels.

A ReLU hides how far below zero a unit was. Where a layer's channels come straight out of a ReLU, also through
a concatenation, the values before it are read instead. Other channels keep the layer's own values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.cut import CutNetwork, cut
from atlas_pipeline.models.execution import IMAGE_FAILURES
from atlas_pipeline.models.graph import same, traced_network
from atlas_pipeline.models.layer_samples import map_shape
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory

_RELU_FUNCTIONS = (F.relu, F.relu_, torch.relu, torch.relu_)
_CAT_FUNCTIONS = (torch.cat, torch.concat, torch.concatenate)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


@dataclass(frozen=True, slots=True)
class ValueMaps:
    """The values of the units of some layers.

    read: images (B, 3, side, side) in [0, 1] or uint8 -> layer -> (B, C, rows, columns) float32.
    is_before_relu: layer -> (C,) bool, whether a channel's values are those before a ReLU.
    """

    read: Callable[[Tensor], Mapping[str, Tensor]]
    is_before_relu: Mapping[str, Tensor]


def value_maps(network: Network, layers: Sequence[str]) -> ValueMaps:
    """The values of the units of layers, from one forward pass that stops after the last of them.

    In a network whose code cannot be traced, they are the layers' own values.

    Raises: ModelError: no such layer, or no spatial map.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> maps = value_maps(open_network(ModelSpec(source="demo")), ["mixed4"])
    >>> maps.is_before_relu["mixed4"].sum().item()  # a pool stands between the last branch's ReLU and the end
    112
    >>> bool((maps.read(torch.rand(1, 3, 64, 64))["mixed4"] < 0).any())
    True
    """
    found = _traced_values(network, layers)
    if found is not None and _agrees(found, network, layers):
        return found
    flags = {layer: torch.zeros(map_shape(network, layer)[0], dtype=torch.bool) for layer in layers}
    return ValueMaps(lambda images: feature_maps(network, images, layers), flags)


def cut_before_relu(network: Network, layer: str) -> nn.Module:
    """`cut.cut`, with the values before the layer's ReLUs.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> part = cut_before_relu(open_network(ModelSpec(source="demo")), "mixed4")
    >>> bool((part(torch.rand(1, 3, 64, 64)) < 0).any())
    True
    """
    whole = cut(network, layer)
    if not isinstance(whole, CutNetwork) or not isinstance(whole.body, fx.GraphModule):
        return whole
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    end = graph.graph_copy(whole.body.graph, copies)
    assert isinstance(end, fx.Node), layer
    tail = _Tail(graph, whole.body, str(whole.form) == "channels first")
    graph.output(tail.before(tail.tree(end)))
    part = CutNetwork(network, layer, fx.GraphModule(whole.body, graph))
    side = network.preprocess.crop
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(network.device)
    with ieee(), torch.no_grad():
        is_same = same(part(images).clamp(min=0), whole(images).clamp(min=0))
    return part if is_same else whole


@dataclass(frozen=True, slots=True)
class _Tree:
    """The end of a layer: a ReLU, a concatenation of ends, or any other node."""

    node: fx.Node
    is_relu: bool = False
    parts: tuple[_Tree, ...] = ()

    def ends(self) -> list[_Tree]:
        return [end for part in self.parts for end in part.ends()] if self.parts else [self]


class _Tail:
    """Reads a graph from a node towards its inputs, and adds nodes that hold the values before ReLUs."""

    def __init__(self, graph: fx.Graph, root: nn.Module, joins_channels: bool) -> None:
        """joins_channels: whether axis 1 holds the channels, so that concatenations can be followed."""
        self._graph, self._root, self._joins_channels = graph, root, joins_channels

    def tree(self, node: fx.Node) -> _Tree:
        module = self._module(node)
        if isinstance(module, _NOTHING) and isinstance(node.args[0], fx.Node):
            return self.tree(node.args[0])
        if isinstance(module, nn.ReLU) or node.target in _RELU_FUNCTIONS or _is_method(node, "relu"):
            return _Tree(node, is_relu=isinstance(node.args[0], fx.Node))
        if self._joins_channels and node.target in _CAT_FUNCTIONS and _axis(node) in (1, -3):
            return _Tree(node, parts=tuple(self.tree(part) for part in _joined(node)))
        return _Tree(node)

    def before(self, tree: _Tree) -> fx.Node:
        """A node with the values before the ReLUs. It is a copy: later nodes may work in place."""
        if tree.parts:
            parts = [self.before(part) for part in tree.parts]
            with self._graph.inserting_after(tree.node):
                return self._graph.call_function(torch.cat, (parts, 1))
        if tree.is_relu:
            with self._graph.inserting_before(tree.node):
                return self._graph.call_method("clone", (tree.node.args[0],))
        with self._graph.inserting_after(tree.node):
            return self._graph.call_method("clone", (tree.node,))

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._root.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_method(node: fx.Node, name: str) -> bool:
    return node.op == "call_method" and str(node.target) in (name, f"{name}_")


def _axis(node: fx.Node) -> Any:
    return node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))


def _joined(node: fx.Node) -> list[fx.Node]:
    parts = node.args[0] if node.args else node.kwargs.get("tensors", ())
    assert isinstance(parts, Sequence), node
    return [part for part in parts if isinstance(part, fx.Node)]


class _Widths(fx.Interpreter):
    """Runs a graph, and keeps the size of axis 1 of some nodes."""

    def __init__(self, module: fx.GraphModule, wanted: set[fx.Node]) -> None:
        super().__init__(module)
        self.wanted, self.widths = wanted, dict[fx.Node, int]()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.wanted:
            self.widths[n] = value.shape[1]
        return value


def _traced_values(network: Network, layers: Sequence[str]) -> ValueMaps | None:
    traced = traced_network(network)
    if traced is None or any(layer not in traced.outputs for layer in layers):
        return None
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(traced.graph, copies)
    nodes = list(graph.nodes)
    last = max(nodes.index(copies[traced.outputs[layer]]) for layer in layers)
    # By order, not by dependency: earlier nodes may work in place.
    for node in reversed(nodes[last + 1 :]):
        graph.erase_node(node)
    trees = dict[str, _Tree]()
    ends = dict[str, fx.Node]()
    for layer in layers:
        tail = _Tail(graph, traced.root, str(network.runs[layer].form) == "channels first")
        trees[layer] = tail.tree(copies[traced.outputs[layer]])
        ends[layer] = tail.before(trees[layer])
    graph.output(ends)
    module = fx.GraphModule(traced.root, graph)

    def read(images: Tensor) -> Mapping[str, Tensor]:
        # .forward, since a graph that is called as a module prints its code when it fails.
        with ieee():
            found = module.forward(network.normalise(images))
        return {layer: network.feature_map(layer, value) for layer, value in found.items()}

    return ValueMaps(read, _flags(network, module, trees))


def _flags(network: Network, module: fx.GraphModule, trees: Mapping[str, _Tree]) -> dict[str, Tensor]:
    wanted = {end.node for tree in trees.values() if tree.parts for end in tree.ends()}
    side = network.preprocess.crop
    widths = _Widths(module, wanted)
    if wanted:
        with torch.no_grad():
            widths.run(network.normalise(torch.full((1, 3, side, side), 0.5, device=network.device)))
    flags = {}
    for layer, tree in trees.items():
        if tree.parts:
            parts = [torch.full((widths.widths[end.node],), end.is_relu) for end in tree.ends()]
            flags[layer] = torch.cat(parts)
        else:
            flags[layer] = torch.full((map_shape(network, layer)[0],), tree.is_relu)
    return flags


def _agrees(found: ValueMaps, network: Network, layers: Sequence[str]) -> bool:
    """Whether the values give the layers' own maps once ReLUs are put back."""
    side = network.preprocess.crop
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(network.device)
    with torch.no_grad():
        own = feature_maps(network, images, layers)
        try:
            values = found.read(images)
        except IMAGE_FAILURES as error:
            if is_out_of_memory(error):
                raise
            return False
    return all(same(activations(values[layer], found.is_before_relu[layer]), own[layer]) for layer in layers)


def activations(values: Tensor, is_before_relu: Tensor) -> Tensor:
    """The activations (B, C, ...) of values (B, C, ...): ReLUs are put back. is_before_relu: (C,) bool.

    >>> activations(torch.tensor([[-1.0, -1.0]]), torch.tensor([True, False])).tolist()
    [[0.0, -1.0]]
    """
    shape = (1, -1, *[1] * (values.dim() - 2))
    return torch.where(is_before_relu.to(values.device).view(shape), values.clamp(min=0), values)
