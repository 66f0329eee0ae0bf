"""Max-pools whose gradient is shared among all inputs of a window instead of going to the largest alone.

The gradient is that of ``avg(x^2) / (0.01 + avg|x|)`` over the window, a mean that large values dominate,
as in Lucid's ``redirected_pool_grad`` (Olah et al., "The Building Blocks of Interpretability", 2018); the
value stays the exact maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from atlas_pipeline.errors import ModelError

MaxPoolGradient = Literal["exact", "smooth"]
SOFTENING = 0.01


def relaxed_max_pool() -> TorchFunctionMode:
    """A context in which every 2-D max-pool of this thread has the relaxed gradient, forward and backward.

    It reaches ``nn.MaxPool2d``, ``F.max_pool2d`` and ``torch.max_pool2d`` in any model; nothing is patched.
    Adaptive max-pools keep their own gradient.

    Raises: ModelError: within it, a dilated max-pool, for which no relaxation is defined.
    """
    return _RelaxedMaxPool()


def max_pool_gradient(kind: MaxPoolGradient) -> AbstractContextManager[Any]:
    """The context of a config's ``maxpool_gradient``."""
    return relaxed_max_pool() if kind == "smooth" else nullcontext()


class _RelaxedMaxPool(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        exact = func(*args, **(kwargs or {}))
        if func in (F.max_pool2d, torch.max_pool2d):
            return _redirected(exact, *args, **(kwargs or {}))
        if func is F.max_pool2d_with_indices:
            values, indices = exact
            return _redirected(values, *args, **(kwargs or {})), indices
        return exact


def _redirected(
    exact: Tensor,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """``exact`` in value, the relaxed pooling in derivative; the arguments are those of ``F.max_pool2d``."""
    if dilation not in (1, (1, 1), [1, 1]):
        raise ModelError("a dilated max-pool has no smooth gradient; set sample.maxpool_gradient: exact")

    def average(values: Tensor) -> Tensor:
        # Of the image alone: a window over the border is no weaker for its padding.
        return F.avg_pool2d(values, kernel_size, stride or None, padding, ceil_mode, count_include_pad=False)

    smooth = average(input**2) / (SOFTENING + average(input.abs()))
    # detach() takes away forward-mode tangents as well as the graph: one line for both modes.
    return exact.detach() + (smooth - smooth.detach())
