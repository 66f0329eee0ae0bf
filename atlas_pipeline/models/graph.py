"""A traced network as a graph of operations, and its part before a layer.

Tracing (torch.fx) runs the network's code once on proxies. Code that branches on values cannot be traced, and
the callers then use hooks instead.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.network import Network

# Relative to the largest value: reordering the same float32 operations changes the result by less.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class TracedNetwork:
    """A graph over the modules of ``root``, and each layer's output node (of its last run)."""

    root: nn.Module
    graph: fx.Graph
    outputs: dict[str, fx.Node]


# Attributes that torch gives to every module.
_TORCH_ATTRIBUTES = frozenset(vars(nn.Module()))


class _LayerTracer(fx.Tracer):
    """A tracer that remembers the output node of every module, whether it traces into the module or not."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, fx.Node] = {}

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        if isinstance(output, fx.Proxy):
            self.outputs[self.path_of_module(m)] = output.node
        return output


def trace(module: nn.Module) -> TracedNetwork | None:
    """``module`` as a graph; None if its code cannot be traced."""
    tracer = _LayerTracer()
    try:
        with eager(), _preserved_attributes(module):
            graph = tracer.trace(module)
    except Exception:
        # User code may raise anything when it runs on proxies: it cannot be traced.
        return None
    return TracedNetwork(module, graph, tracer.outputs)


def traced_network(network: Network) -> TracedNetwork | None:
    """The network's graph, traced once and not to be altered; None if its code cannot be traced."""
    if network.trace is None:
        network.trace = [trace(network.module)]
    return network.trace[0]


@contextmanager
def _preserved_attributes(module: nn.Module) -> Iterator[None]:
    """Restore the attributes that the network's code writes to its modules, such as caches.

    During a trace those values are proxies.
    """
    kept = {part: _own_attributes(part) for part in module.modules()}
    contents = {
        id(value): (value, copy.copy(value))
        for attributes in kept.values()
        for value in attributes.values()
        if isinstance(value, dict | list)
    }
    try:
        yield
    finally:
        for part, attributes in kept.items():
            for name, value in _own_attributes(part).items():
                # The tracer stores tensors held by the code as attributes, and the graph reads them.
                if name not in attributes and not isinstance(value, Tensor):
                    del part.__dict__[name]
            part.__dict__.update(attributes)
        for value, content in contents.values():
            value.clear()
            if isinstance(value, dict):
                value.update(content)
            else:
                value.extend(content)


def _own_attributes(part: nn.Module) -> dict[str, Any]:
    """A module's attributes without torch's own: no parameters, buffers, submodules or hooks."""
    return {name: value for name, value in vars(part).items() if name not in _TORCH_ATTRIBUTES}


def prefix(module: nn.Module, layer: str) -> fx.GraphModule | None:
    """The graph from the network's input to ``layer``'s output; None if the network cannot be traced.

    It shares modules with ``module``.
    """
    traced = trace(module)
    if traced is None or layer not in traced.outputs:
        return None
    graph, end = traced.graph, traced.outputs[layer]
    nodes = list(graph.nodes)
    # Cut by order, not by dependency: earlier nodes may have worked in place.
    for node in reversed(nodes[nodes.index(end) + 1 :]):
        graph.erase_node(node)
    graph.output(end)
    graph.eliminate_dead_code(lambda node: may_write(node, traced.root))
    return fx.GraphModule(traced.root, graph)


def may_write(node: fx.Node, root: nn.Module) -> bool:
    """Whether dropping ``node`` could change a value that is used, because it writes in place or might."""
    if node.op in ("placeholder", "output"):
        return True
    return writes_in_place(node, root) and not _owns_its_input(node, root)


def writes_in_place(node: fx.Node, root: nn.Module) -> bool:
    """Whether ``node`` writes to its first argument, as far as its name and its settings tell."""
    if node.kwargs.get("inplace") or "out" in node.kwargs:
        return True
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = getattr(node.target, "__name__", str(node.target))
    is_operator = name.endswith("__")
    return (name.endswith("_") and not is_operator) or name in ("setitem", "iadd", "imul", "isub", "itruediv")


def _owns_its_input(node: fx.Node, root: nn.Module) -> bool:
    """Whether ``node`` writes to a tensor made for it alone, by a module that returns new memory."""
    made_by = node.args[0] if node.args else None
    return (
        isinstance(made_by, fx.Node)
        and made_by.op == "call_module"
        and len(made_by.users) == 1
        and isinstance(root.get_submodule(str(made_by.target)), nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    )


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal up to float32 rounding."""
    return a.shape == b.shape and bool((a - b).abs().max() <= TOLERANCE * b.abs().max())
