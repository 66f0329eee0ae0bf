"""Split a network's graph where a single map carries all values, so that maps can be trimmed in between.

Feature inversion maximises the activation at one position. The deeper the layer, the fewer positions of
earlier maps that position depends on, relative to their size; the rest need not be computed.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn


def split_graph(body: fx.GraphModule, images: Tensor) -> list[fx.GraphModule]:
    """Split ``body`` into modules that give the same result when applied in turn; they share its parameters.

    Args:    images: (1, 3, height, width), normalised; run once, to tell maps from other tensors.
    Returns: at least one module; a single square map (1, channel, side, side) passes from each to the next.
    """
    shapes = _shapes(body, images)
    nodes = list(body.graph.nodes)
    ends = [
        node for index, node in enumerate(nodes) if _is_bottleneck(nodes, index) and _is_map(shapes.get(node))
    ]
    # The input ends no part, and trimming a part of one pointwise operation would gain nothing.
    ends = [
        node for node in ends if node.op not in ("placeholder", "output") and not _feeds_pointwise(node, body)
    ]
    output = next(node for node in nodes if node.op == "output")
    last = output.args[0]
    starts = [
        next(node for node in nodes if node.op == "placeholder"),
        *[end for end in ends if end is not last],
    ]
    stops = [*starts[1:], last]
    return [_between(body, start, stop) for start, stop in zip(starts, stops, strict=True)]


def _shapes(body: fx.GraphModule, images: Tensor) -> dict[fx.Node, tuple[int, ...]]:
    shapes: dict[fx.Node, tuple[int, ...]] = {}

    class _Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            if isinstance(value, Tensor):
                shapes[n] = tuple(value.shape)
            return value

    with torch.no_grad():
        _Recorder(body).run(images)
    return shapes


def _is_map(shape: tuple[int, ...] | None) -> bool:
    return shape is not None and len(shape) == 4 and shape[2] == shape[3] > 1


def _is_bottleneck(nodes: list[fx.Node], index: int) -> bool:
    """Whether the node's value is the only value computed so far that is used later."""
    later = set(nodes[index + 1 :])
    return all(
        not (set(node.users) & later) or node.op == "get_attr" or node is nodes[index]
        for node in nodes[: index + 1]
    )


def _feeds_pointwise(node: fx.Node, body: fx.GraphModule) -> bool:
    """Whether an activation function or a norm follows, which may also write in place."""
    pointwise = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.BatchNorm2d, nn.Dropout, nn.Identity)
    for user in node.users:
        if user.op == "call_module" and isinstance(body.get_submodule(str(user.target)), pointwise):
            return True
        if "relu" in str(user.target) or getattr(user.target, "__name__", "").endswith("_"):
            return True
    return False


def _between(body: fx.GraphModule, start: fx.Node, stop: fx.Node) -> fx.GraphModule:
    """The graph from ``start``'s value to ``stop``'s."""
    nodes = list(body.graph.nodes)
    graph = fx.Graph()
    copies = {start: graph.placeholder("feature_map")}
    inside = nodes[nodes.index(start) + 1 : nodes.index(stop) + 1]
    constants = [node for node in nodes[: nodes.index(start)] if node.op == "get_attr"]
    for node in constants + inside:
        copies[node] = graph.node_copy(node, lambda used: copies[used])
    graph.output(copies[stop])
    module = fx.GraphModule(body, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module
