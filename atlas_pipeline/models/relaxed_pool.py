"""Max-pools whose gradient goes to all inputs of a window instead of the largest one alone.

The gradient is that of ``avg(x^2) / (0.01 + avg|x|)`` over the window, a mean dominated by large values, as
in Lucid's ``redirected_pool_grad`` (Olah et al., "The Building Blocks of Interpretability", 2018). The value
remains the exact maximum.
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
    """A context in which every 2-D max-pool of this thread has the relaxed gradient, in both modes.

    It affects ``nn.MaxPool2d``, ``F.max_pool2d`` and ``torch.max_pool2d`` in any model, without patching.
    Adaptive max-pools keep their own gradient.

    Raises: ModelError: inside the context, for a dilated max-pool, which has no defined relaxation.
    """
    return _RelaxedMaxPool()


def max_pool_gradient(kind: MaxPoolGradient) -> AbstractContextManager[Any]:
    """The context for a config's ``maxpool_gradient``."""
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
    """``exact`` in value, the relaxed pooling in derivative; other arguments as for ``F.max_pool2d``."""
    if dilation not in (1, (1, 1), [1, 1]):
        raise ModelError("a dilated max-pool has no smooth gradient; set sample.maxpool_gradient: exact")

    def average(values: Tensor) -> Tensor:
        # Average over the image only: padding must not weaken a window at the border.
        return F.avg_pool2d(values, kernel_size, stride or None, padding, ceil_mode, count_include_pad=False)

    smooth = average(input**2) / (SOFTENING + average(input.abs()))
    # detach() removes forward-mode tangents as well as the graph, so this line serves both modes.
    return exact.detach() + (smooth - smooth.detach())
