"""A guard for forward passes with NaN inputs, which show what depends on what.

Some operations crash on NaN, and others hide it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# PyTorch's own operators. Operators of extensions may read at computed places (deformable convolutions,
# regions of interest), and NaN places end the process.
OWN_NAMESPACES = ("aten", "prim", "prims")
# Words in the names of PyTorch operators that use NaN as an index, turn it into a number or crash on a GPU.
NAN_HIDING_WORDS = ("grid_sampler", "quantize", "nan_to_num", "bernoulli", "multinomial")


class CannotTellError(RuntimeError):
    """NaN would not show what depends on what."""


class NanGuard(TorchDispatchMode):
    """Raise CannotTellError inside the block before NaN is lost or does damage.

    That happens at operators of extensions, at operators that read at computed places, and where NaN becomes
    an integer: reading at such an index gives no NaN, and on a GPU it ends the process.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.name()
        namespace, _, operator = name.partition("::")
        if namespace not in OWN_NAMESPACES or any(word in operator for word in NAN_HIDING_WORDS):
            raise CannotTellError(f"'{name}' hides NaN, or may crash on it")
        output = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if outputs and all(map(_is_integer, outputs)) and any(map(_has_nan, tree_leaves((args, kwargs)))):
            raise CannotTellError(f"'{name}' turns NaN into an integer")
        return output


def _is_integer(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _has_nan(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and bool(leaf.isnan().any())
