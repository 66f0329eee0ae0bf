"""A record of one forward pass: every module, in the order in which it finishes, and its output.

B = batch, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.models.eager import eager
from atlas_pipeline.models.held_tensor import container_kind, held_tensor
from atlas_pipeline.models.map_form import MapForm

# Errors that networks raise for an image that they cannot take; torch's out-of-memory error is among them.
IMAGE_FAILURES = (
    RuntimeError,
    AssertionError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
)

Hook = Callable[[nn.Module, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Output:
    """The output of one module in a forward pass. For a module that runs several times, the last run counts.

    kind: the module's class. shape: shape of the output tensor; None if there is no tensor. times: runs in
    the forward pass. held_in: kind of the container whose first tensor this is; "" if the output is the
    tensor itself.
    """

    kind: str
    shape: tuple[int, ...] | None
    times: int
    held_in: str


@dataclass(frozen=True, slots=True)
class Run:
    """One module's part in a forward pass. For a module that runs several times, the last run counts.

    kind: the module's class. shape: shape of the output, or of its first tensor, without the batch; None if
    there is no tensor. times: runs in one forward pass. form: how the output is read as a feature map; None
    if it cannot be. refusal: why it cannot be, where the shape does not explain it.
    """

    kind: str
    shape: tuple[int, ...] | None
    times: int
    form: MapForm | None
    refusal: str = ""

    @property
    def is_map(self) -> bool:
        """Whether the output can be read as (B, channel, row, column)."""
        return self.form is not None


@contextmanager
def hooked(module: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Put forward hooks on submodules, by name, and remove them when the block ends; ``eager`` is active."""
    with ExitStack() as stack:
        stack.enter_context(eager())
        for name, hook in hooks.items():
            # Not always_call, which would run the hook after a failed forward pass too: hooks must see
            # outputs only.
            handle = module.get_submodule(name).register_forward_hook(hook)
            stack.callback(handle.remove)
        yield


def observe(module: nn.Module, images: Tensor) -> tuple[dict[str, Output], Any]:
    """Run ``module`` once and return its submodules' outputs and its own output.

    Args:    images: (B, 3, S, S) float32, normalised. B should differ from every other size: 2 rather than 1.
    Returns: name -> output, in the order in which the submodules finish their last run; the module's output.
    """
    seen: dict[str, Output] = {}

    def hook_for(name: str) -> Hook:
        def hook(submodule: nn.Module, _: Any, output: Any) -> None:
            before = seen.pop(name, None)
            tensor = held_tensor(output)
            shape = None if tensor is None else tuple(tensor.shape)
            times = 1 if before is None else before.times + 1
            seen[name] = Output(type(submodule).__name__, shape, times, container_kind(output))

        return hook

    # TorchScript modules take no hooks.
    names = [
        name for name, part in module.named_modules() if name and not isinstance(part, torch.jit.ScriptModule)
    ]
    with torch.no_grad(), hooked(module, {name: hook_for(name) for name in names}):
        output = module(images)
    return seen, output
