"""Rules that push a tangent through one operation whose value is known. B = batch, C = channels.

A rule linearises an operation at its inputs, once, and returns a function from tangents of the inputs to the
tangent of the output. Everything that depends on values alone (masks, windows of pools, softmax) is computed
when the rule is applied and serves all tangents. Operations without a rule take forward-mode AD.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas_pipeline.models.relaxed_pool import MaxPoolGradient

Push = Callable[..., Any]
"""Maps tangents of an operation's inputs to the tangent of its output."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that has run.

    function: the module, the function, or the name of a tensor's method. args, kwargs: values before the
    operation, even if it writes in place. output: its result. maxpool_gradient: gradient of max-pools.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    maxpool_gradient: MaxPoolGradient

    @property
    def key(self) -> Any:
        """The key of the operation's rule: a module's class, a function, or a method's name."""
        return type(self.function) if isinstance(self.function, nn.Module) else self.function


Rule = Callable[[Operation], Push | None]
"""Linearises an operation; None for settings that the rule does not cover."""

# Rules where the first argument alone has a tangent, and rules that take one (or None) of each argument.
FIRST: dict[Any, Rule] = {}
EACH: dict[Any, Rule] = {}


def of_first(keys: Iterable[Any], linearise: Callable[..., Push | None]) -> None:
    """Register a rule: a function of the first input, the output, and the other arguments."""
    for key in keys:
        FIRST[key] = lambda op: linearise(op.args[0], op.output, *op.args[1:], **op.kwargs)


def of_module(kind: type[nn.Module], linearise: Callable[..., Push | None]) -> None:
    """Register a rule of a module: a function of the module, its input and its output."""
    FIRST[kind] = lambda op: linearise(op.function, op.args[0], op.output)


def named(names: str, *namespaces: Any) -> list[Any]:
    """The functions of these names in each namespace, and the names, which stand for tensors' methods."""
    found = [getattr(space, name) for name in names.split() for space in namespaces if hasattr(space, name)]
    return found + names.split()


# Linear in the first argument: the tangent takes the operation itself.
_LINEAR = (
    "flatten reshape permute transpose contiguous chunk split unbind unflatten squeeze unsqueeze mean sum "
    "roll expand repeat movedim clone narrow select flip t float to type_as adaptive_avg_pool2d avg_pool2d "
    "adaptive_avg_pool1d avg_pool1d pixel_shuffle pixel_unshuffle dropout"
)
_LINEAR_MODULES = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Unflatten,
    nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.ZeroPad2d, nn.PixelShuffle, nn.PixelUnshuffle,
)  # fmt: skip


def _linear_function(op: Operation) -> Push:
    if isinstance(op.function, str):
        return lambda tangent: getattr(tangent, op.function)(*op.args[1:], **op.kwargs)
    return lambda tangent: op.function(tangent, *op.args[1:], **op.kwargs)


for _key in [*named(_LINEAR, torch, F), operator.getitem]:
    FIRST[_key] = _linear_function
for _key in _LINEAR_MODULES:
    FIRST[_key] = lambda op: op.function.forward


def _view(x: Tensor, y: Tensor, *shape: Any) -> Push | None:
    if any(isinstance(size, torch.dtype) for size in shape):
        return None
    # A tangent's memory may be laid out in another order than the value's.
    return lambda tangent: tangent.reshape(*shape)


def _pad(x: Tensor, y: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Push:
    return lambda tangent: F.pad(tangent, pad, mode)


of_first(["view"], _view)
of_first([F.pad], _pad)


def _sum_of(*terms: Tensor | None) -> Tensor:
    first, *others = [term for term in terms if term is not None]
    for other in others:
        first = first + other
    return first


def _shaped(tangent: Tensor, output: Tensor) -> Tensor:
    """The tangent in the output's shape, which may be larger by broadcasting."""
    return tangent if tangent.shape == output.shape else tangent.expand_as(output)


def _add(op: Operation) -> Push | None:
    if op.kwargs:
        return None
    return lambda a, b: _shaped(_sum_of(a, b), op.output)


def _subtract(op: Operation) -> Push | None:
    if op.kwargs:
        return None
    return lambda a, b: _shaped(_sum_of(a, None if b is None else -b), op.output)


def _multiply(op: Operation) -> Push | None:
    if op.kwargs:
        return None
    x, z = op.args
    return lambda a, b: _sum_of(None if a is None else a * z, None if b is None else x * b)


def _divide(op: Operation) -> Push | None:
    if op.kwargs:
        return None
    _, z = op.args
    return lambda a, b: _sum_of(None if a is None else a / z, None if b is None else -op.output * b / z)


def _matrix_product(op: Operation) -> Push | None:
    if op.kwargs:
        return None
    x, z = op.args
    return lambda a, b: _sum_of(None if a is None else a @ z, None if b is None else x @ b)


def _joined(op: Operation) -> Push | None:
    if not op.args:
        return None
    values, *rest = op.args

    def push(tangents: Any, *_: Any) -> Tensor:
        filled = [torch.zeros_like(v) if t is None else t for t, v in zip(tangents, values, strict=True)]
        return op.function(filled, *rest, **op.kwargs)

    return push


for _keys, _rule in (
    ([operator.add, operator.iadd, torch.add, "add", "add_"], _add),
    ([operator.sub, operator.isub, torch.sub, "sub", "sub_"], _subtract),
    ([operator.mul, operator.imul, torch.mul, "mul", "mul_"], _multiply),
    ([operator.truediv, operator.itruediv, torch.div, "div", "div_"], _divide),
    ([operator.matmul, torch.matmul, torch.bmm, "matmul", "bmm"], _matrix_product),
    ([torch.cat, torch.concat, torch.stack], _joined),
):
    for _key in _keys:
        EACH[_key] = _rule

# Rules that use no value from before the operation, which may therefore write in place.
NEED_NO_INPUT = {
    nn.ReLU, nn.Dropout, *named("relu relu_ dropout", torch, F),
    operator.iadd, "add_", operator.isub, "sub_",
}  # fmt: skip
