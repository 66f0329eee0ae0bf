"""The part of a network after a layer: from the layer's output to the logits. B = batch.

There is none where values of the image bypass the layer, as inside a residual block or a branch. Sizes of the
image (``x.size(0)``, ``x.shape``) and values that come from parameters alone are no such values. The batch is
taken from the layer's own output, and the other sizes are those of the network's own image size.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.capture import capture
from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.graph import TracedNetwork, may_write, same, traced_network
from atlas_pipeline.models.network import Network

# Sizes are read at two numbers of images, and the suffix is tried at a third.
_FEW, _MANY, _TRIED = 2, 5, 3
# Methods and attributes of a tensor that tell its size or kind, and none of its values.
_SIZE_METHODS = {"size", "dim", "ndimension", "numel", "nelement", "__len__", "is_floating_point"}
_SIZE_ATTRIBUTES = {"shape", "ndim", "dtype", "device"}


def suffix(network: Network, layer: str) -> nn.Module | None:
    """The module from ``layer``'s output to the logits, if the logits depend on nothing else; otherwise None.

    It takes outputs for images of the network's own size, any number of them. It is made once per network and
    layer, and used only if it reproduces the network's own logits.
    """
    if layer not in network.suffixes:
        network.suffixes[layer] = _checked_suffix(network, layer)
    return network.suffixes[layer]


@ieee()
def _checked_suffix(network: Network, layer: str) -> nn.Module | None:
    form = network.runs[layer].form
    if form is None or form.held_in:
        return None
    module = _suffix(network, layer)
    if module is None:
        return None
    images, others = (_noise(network, seed, _TRIED) for seed in (0, 1))
    with torch.no_grad():
        with capture(network.module, [layer]) as outputs:
            logits = network.logits(images)
        # Other images last, so that the suffix does not read what the code may keep of these.
        network.logits(others)
        try:
            repeated = network.checked_logits(module.forward(outputs[layer]))
        except Exception:
            # Traced code lacks its surroundings, such as autocast, and may fail to run.
            return None
    return module if same(repeated, logits) else None


def _noise(network: Network, seed: int, num_images: int) -> Tensor:
    return noise_images(network.preprocess.crop, seed=seed, num_images=num_images).to(network.device)


def _suffix(network: Network, layer: str) -> fx.GraphModule | None:
    traced = traced_network(network)
    if traced is None or layer not in traced.outputs:
        return None
    tail = _Tail(network, traced, layer)
    nodes = list(traced.graph.nodes)
    try:
        tail.add(nodes[nodes.index(tail.start) + 1 :])
    except _BypassError:
        return None
    return fx.GraphModule(traced.root, tail.graph)


class _BypassError(Exception):
    """A value of the image reaches the logits beside the layer."""


class _Tail:
    """A graph that begins at a layer's output; earlier nodes are copied into it as they are needed."""

    def __init__(self, network: Network, traced: TracedNetwork, layer: str) -> None:
        self.network, self.root, self.start = network, traced.root, traced.outputs[layer]
        self.form = network.runs[layer].form
        self.graph = fx.Graph()
        self.output = self.graph.placeholder("output")
        self.copies: dict[fx.Node, fx.Node] = {self.start: self.output}
        self.of_image = _nodes_of_image(self.start)
        self._batch: fx.Node | None = None

    def add(self, nodes: Sequence[fx.Node]) -> None:
        """Copy the nodes after the layer that the logits need.

        Raises: _BypassError: the logits need a value of the image from before the layer.
        """
        needed: set[fx.Node] = set()
        for node in reversed(nodes):
            if node in needed or may_write(node, self.root):
                needed |= {node, *node.all_input_nodes}
        for node in nodes:
            if node in needed:
                self.copies[node] = self.graph.node_copy(node, self._argument)

    def _argument(self, node: fx.Node) -> Any:
        """A node's value in the tail: the copy of the node, or a size."""
        if node in self.copies:
            return self.copies[node]
        if node in self.of_image:
            raise _BypassError
        if _reads_size(node):
            few, many = (sizes[node] for sizes in _sizes(self.network))
            return self._size(few, many)
        self.copies[node] = self.graph.node_copy(node, self._argument)
        return self.copies[node]

    def _size(self, few: Any, many: Any) -> Any:
        """A size in terms of the layer's batch, from its values for ``_FEW`` and ``_MANY`` images."""
        if isinstance(few, tuple):
            sizes = tuple(self._size(a, b) for a, b in zip(few, many, strict=True))
            return self.graph.call_function(torch.Size, (sizes,)) if isinstance(few, torch.Size) else sizes
        if few == many:
            return few
        if not isinstance(few, int) or few % _FEW or few // _FEW * _MANY != many:
            raise _BypassError
        if self._batch is None:
            assert self.form is not None
            with self.graph.inserting_after(self.output):
                self._batch = self.graph.call_method("size", (self.output, self.form.batch_axis))
        if few == _FEW:
            return self._batch
        return self.graph.call_function(operator.mul, (self._batch, few // _FEW))


def _nodes_of_image(start: fx.Node) -> set[fx.Node]:
    """The nodes before ``start`` whose values depend on those of the image."""
    found: set[fx.Node] = set()
    for node in start.graph.nodes:
        if node is start:
            return found
        if node.op == "placeholder" or (not _reads_size(node) and not found.isdisjoint(node.all_input_nodes)):
            found.add(node)
    raise AssertionError(start)


def _reads_size(node: fx.Node) -> bool:
    """Whether the node gives the size or the kind of a tensor."""
    if node.op == "call_method":
        return node.target in _SIZE_METHODS
    if node.op != "call_function":
        return False
    return node.target is len or (node.target is getattr and node.args[1] in _SIZE_ATTRIBUTES)


def _sizes(network: Network) -> tuple[dict[fx.Node, Any], dict[fx.Node, Any]]:
    """The values of the nodes that read sizes, for ``_FEW`` and for ``_MANY`` images; read once."""
    if network.sizes is None:
        few, many = (_SizesRead(network, num_images).sizes for num_images in (_FEW, _MANY))
        network.sizes = few, many
    return network.sizes


class _SizesRead(fx.Interpreter):
    """A run of the traced network that notes the sizes that its code reads."""

    def __init__(self, network: Network, num_images: int) -> None:
        traced = traced_network(network)
        assert traced is not None
        super().__init__(traced.root, graph=traced.graph)
        self.extra_traceback = False
        self.sizes: dict[fx.Node, Any] = {}
        with torch.no_grad(), eager():
            self.run(network.normalise(_noise(network, 0, num_images)))

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node; kept if it is a size."""
        value = super().run_node(n)
        if _reads_size(n):
            self.sizes[n] = value
        return value
