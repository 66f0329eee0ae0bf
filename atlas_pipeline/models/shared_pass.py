"""Derivatives of the logits along directions in many layers, from one forward pass. B = batch, K = classes.

The values of a forward pass are the same for all layers, so they are computed once. Beside each value go the
tangents of all directions that have begun so far. A direction's tangents are pushed through the linearised
operations by themselves, so their bits do not depend on the other directions. Nothing is computed where a
tangent is zero: before its layer, and in branches that the layer does not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, fx
from torch.fx.node import map_aggregate

from atlas_pipeline.models import attention_tangents, layer_tangents
from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.folded_convolutions import folded_convolutions
from atlas_pipeline.models.graph import TracedNetwork, writes_in_place
from atlas_pipeline.models.held_tensor import held_tensor
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.products import plain_attention
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient, max_pool_gradient
from atlas_pipeline.models.tangent_rules import EACH, FIRST, NEED_NO_INPUT, Operation, Push

# Importing the rules registers them.
assert attention_tangents
assert layer_tangents

Key = TypeVar("Key", bound=Hashable)
Direction = Callable[[Tensor], Tensor]
"""Maps a layer's output to a direction of its shape, in new memory."""


@dataclass(frozen=True, slots=True)
class _Folded:
    """The tangent of a convolution that only a batch norm reads: the tangent of the convolution's input."""

    tangent: Tensor


class SharedPass:
    """A traced network through which tangents can be pushed beside the values."""

    def __init__(self, network: Network, traced: TracedNetwork) -> None:
        self.network, self.root, self.graph, self.outputs = network, traced.root, traced.graph, traced.outputs
        self.folded = folded_convolutions(self.root, self.graph)
        self.convolutions = {convolution for convolution, _ in self.folded.values()}

    def derivatives(
        self,
        images: Tensor,
        directions: Mapping[Key, tuple[str, Direction]],
        maxpool_gradient: MaxPoolGradient,
    ) -> dict[Key, Tensor | None]:
        """Derivatives (B, K) float32 of the logits along directions; None where no derivative arrives.

        Args:   images: (B, 3, height, width) in [0, 1] or uint8, on the network's device. directions: by any
                key, a layer and a function that is called with the layer's output, once.
        Raises: KeyError: a layer whose output is no node of the graph.
        """
        starts: dict[fx.Node, list[tuple[Hashable, Direction]]] = {}
        for key, (layer, direction) in directions.items():
            starts.setdefault(self.outputs[layer], []).append((key, direction))
        with torch.inference_mode(False), torch.no_grad(), eager():
            run = _Run(self, starts, maxpool_gradient)
            self.network.checked_logits(run.run(self.network.normalise(images)))
        found = run.found
        return {key: None if found.get(key) is None else found[key].float() for key in directions}


class _Run(fx.Interpreter):
    """One pass: values in ``env``, and tangents of each node by direction."""

    def __init__(
        self,
        shared: SharedPass,
        starts: Mapping[fx.Node, list[tuple[Hashable, Direction]]],
        maxpool_gradient: MaxPoolGradient,
    ) -> None:
        super().__init__(shared.root, graph=shared.graph)
        self.extra_traceback = False
        self.shared, self.starts, self.maxpool_gradient = shared, starts, maxpool_gradient
        self.tangents: dict[fx.Node, dict[Hashable, Any]] = {}
        self.found: dict[Hashable, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """The value of a node; its tangents are kept beside it, and those without further use are dropped."""
        if n.op == "output":
            (logits,) = n.args
            self.found = self.tangents.get(logits, {}) if isinstance(logits, fx.Node) else {}
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        function = self.submodules[str(n.target)] if n.op == "call_module" else n.target
        arriving = self._arriving(n)
        in_place = n.op.startswith("call") and writes_in_place(n, self.shared.root)
        operation = Operation(function, args, kwargs, None, self.maxpool_gradient)
        run_on = args
        if in_place and arriving and operation.key not in NEED_NO_INPUT:
            run_on = (args[0].clone(), *args[1:])
        output = getattr(self, n.op)(n.target, run_on, kwargs)
        tangents: dict[Hashable, Any] = {}
        if arriving and _is_differentiable(output):
            linearised = _Linearised(self, n, replace(operation, output=output), in_place)
            tangents = {key: linearised.push(key) for key in arriving}
        for key, direction in self.starts.get(n, ()):
            tangents[key] = _beginning(output, direction)
        tangents = {key: tangent for key, tangent in tangents.items() if tangent is not None}
        if tangents and n.users:
            self.tangents[n] = tangents
        if in_place and isinstance(n.args[0], fx.Node) and isinstance(output, Tensor):
            # Later operations on the altered tensor get its new value and tangents.
            self.env[n.args[0]] = output
            self.tangents[n.args[0]] = tangents
        for used in self.user_to_last_uses.get(n, ()):
            self.tangents.pop(used, None)
        return output

    def tangent(self, node: fx.Node, key: Hashable) -> Any:
        """A node's tangent along a direction; None if it is zero."""
        return self.tangents.get(node, {}).get(key)

    def _arriving(self, n: fx.Node) -> list[Hashable]:
        """The directions with a tangent at any input of the node, in the order in which they began."""
        keys = (key for node in n.all_input_nodes for key in self.tangents.get(node, ()))
        return list(dict.fromkeys(keys))


class _Linearised:
    """A node's operation at its values; pushes one direction's tangents at a time."""

    def __init__(self, run: _Run, node: fx.Node, operation: Operation, in_place: bool) -> None:
        self.run, self.node, self.operation, self.in_place = run, node, operation, in_place
        self._rules: dict[str, Push | None] = {}

    def push(self, key: Hashable) -> Any:
        """The tangent of the output along a direction; None if it is zero."""
        node, first = self.node, self.node.args[0] if self.node.args else None

        def tangent_of(argument: Any) -> Any:
            return self.run.tangent(argument, key) if isinstance(argument, fx.Node) else None

        if isinstance(first, fx.Node) and not any(
            self.run.tangent(other, key) is not None for other in _others(node)
        ):
            tangent = tangent_of(first)
            if node in self.run.shared.convolutions:
                return _Folded(tangent)
            if isinstance(tangent, _Folded):
                _, folded = self.run.shared.folded[node]
                return folded(tangent.tangent)
            if (rule := self._rule("first", FIRST)) is not None:
                return rule(tangent)
        if (rule := self._rule("each", EACH)) is not None:
            args, kwargs = map_aggregate((node.args, node.kwargs), tangent_of)
            return rule(*args, **{name: tangent for name, tangent in kwargs.items() if tangent is not None})
        return self._by_forward_mode(tangent_of)

    def _rule(self, name: str, rules: Mapping[Any, Any]) -> Push | None:
        if name not in self._rules:
            rule = rules.get(self.operation.key)
            self._rules[name] = None if rule is None else rule(self.operation)
        return self._rules[name]

    def _by_forward_mode(self, tangent_of: Callable[[Any], Any]) -> Any:
        operation = self.operation
        with ExitStack() as stack:
            stack.enter_context(plain_attention())
            stack.enter_context(max_pool_gradient(self.run.maxpool_gradient))
            stack.enter_context(forward_ad.dual_level())
            args, kwargs = map_aggregate(
                (self.node.args, self.node.kwargs),
                lambda a: self._dual(self.run.env[a], tangent_of(a)) if isinstance(a, fx.Node) else a,
            )
            if isinstance(operation.function, str):
                output = getattr(args[0], operation.function)(*args[1:], **kwargs)
            else:
                output = operation.function(*args, **kwargs)
            return _mapped(output, lambda value: forward_ad.unpack_dual(value).tangent)

    def _dual(self, value: Any, tangent: Any) -> Any:
        if isinstance(value, Tensor):
            value = value.clone() if self.in_place else value
            return value if tangent is None else forward_ad.make_dual(value, tangent)
        if tangent is None:
            return value
        return type(value)(self._dual(v, t) for v, t in zip(value, tangent, strict=True))


def _others(node: fx.Node) -> list[fx.Node]:
    """The nodes among a node's arguments after the first."""
    found: list[fx.Node] = []
    map_aggregate((node.args[1:], node.kwargs), lambda a: found.append(a) if isinstance(a, fx.Node) else None)
    return found


def _is_differentiable(output: Any) -> bool:
    """Whether an output is or holds a tensor of floating-point numbers."""
    if isinstance(output, tuple | list):
        return any(map(_is_differentiable, output))
    return isinstance(output, Tensor) and output.is_floating_point()


def _beginning(output: Any, direction: Direction) -> Any:
    """A layer's first tangents; the output may be a tuple or list whose first tensor is the layer's."""
    tensor = held_tensor(output)
    assert tensor is not None
    return _mapped(output, lambda value: direction(value) if value is tensor else None)


def _mapped(output: Any, of_tensor: Callable[[Tensor], Tensor | None]) -> Any:
    """A function of a tensor, or of each tensor in a tuple or list; None if it gives None for all.

    Raises: NotImplementedError: another kind of output.
    """
    if isinstance(output, Tensor):
        return of_tensor(output)
    if not isinstance(output, tuple | list):
        raise NotImplementedError(f"tangents in a {type(output).__name__}")
    found = tuple(_mapped(value, of_tensor) if _is_differentiable(value) else None for value in output)
    return found if any(value is not None for value in found) else None
