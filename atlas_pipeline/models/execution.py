"""What one forward runs: every module, in the order in which it finishes, and what comes out.

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
from atlas_pipeline.models.held_tensor import held_tensor, holder
from atlas_pipeline.models.map_form import MapForm

# What networks raise for an image that they cannot take; torch's running out of memory is among them.
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
    """The output of one module in a forward. A module that runs several times is known by its last run.

    shape: of its tensor, None where it holds none. times: runs in the forward. held_in: the kind of container
    whose first tensor it is: "" where the output is the tensor itself.
    """

    kind: str
    shape: tuple[int, ...] | None
    times: int
    held_in: str


@dataclass(frozen=True, slots=True)
class Run:
    """One module's part in a forward. A module that runs several times is known by its last run.

    shape: of its output, or the first tensor held in it, without the batch; None where it holds none. times:
    runs in one forward. form: how the output is read as a feature map; None where it is none. refusal: why it
    is none, where the shape alone does not say.
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
    """Forward hooks on submodules by name, released however the block ends; forwards in it are ``eager``."""
    with ExitStack() as stack:
        stack.enter_context(eager())
        for name, hook in hooks.items():
            # always_call would run the hook on a failed forward too: it must see outputs only.
            handle = module.get_submodule(name).register_forward_hook(hook)
            stack.callback(handle.remove)
        yield


def observe(module: nn.Module, images: Tensor) -> tuple[dict[str, Output], Any]:
    """Run ``module`` once: what its submodules give, in the order of their (last) end, and its own output.

    Args: images: (B, 3, S, S) float32, normalised; B should be no number of anything else: 2 and not 1.
    """
    seen: dict[str, Output] = {}

    def hook_for(name: str) -> Hook:
        def hook(submodule: nn.Module, _: Any, output: Any) -> None:
            before = seen.pop(name, None)
            tensor = held_tensor(output)
            shape = None if tensor is None else tuple(tensor.shape)
            times = 1 if before is None else before.times + 1
            seen[name] = Output(type(submodule).__name__, shape, times, holder(output))

        return hook

    # TorchScript takes no hooks.
    names = [
        name for name, part in module.named_modules() if name and not isinstance(part, torch.jit.ScriptModule)
    ]
    with torch.no_grad(), hooked(module, {name: hook_for(name) for name in names}):
        output = module(images)
    return seen, output
