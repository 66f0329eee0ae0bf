"""The tensor in a module's output: the output itself, or the first tensor of a tuple, list or mapping.

Blocks of Hugging Face transformers return ``(hidden,)``, ``nn.MultiheadAttention`` returns ``(output,
weights)``, and other modules return a dict.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def held_tensor(output: Any) -> Tensor | None:
    """The tensor itself, or the first tensor in the container; None if there is none."""
    if isinstance(output, Tensor):
        return output
    values: list[Any] = []
    if isinstance(output, Mapping):
        values = list(output.values())
    elif isinstance(output, tuple | list):
        values = list(output)
    return next((value for value in values if isinstance(value, Tensor)), None)


def container_kind(output: Any) -> str:
    """Kind of the container of ``held_tensor``: ``tuple``, ``list`` or ``dict``; "" for a plain tensor."""
    if isinstance(output, Tensor):
        return ""
    kinds = {tuple: "tuple", list: "list", Mapping: "dict"}
    return next((name for kind, name in kinds.items() if isinstance(output, kind)), "")


def with_tensor(output: Any, tensor: Tensor) -> Any:
    """``output`` with its tensor replaced by ``tensor``: the tensor itself, or a new container."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, Mapping):
        mapping: Any = copy.copy(output)
        mapping[next(key for key, value in output.items() if isinstance(value, Tensor))] = tensor
        return mapping
    at = next(i for i, value in enumerate(output) if isinstance(value, Tensor))
    values = [*output[:at], tensor, *output[at + 1 :]]
    # A named tuple's constructor takes its fields one by one.
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
