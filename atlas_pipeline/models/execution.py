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
from atlas_pipeline.models.map_form import MapForm, map_forms

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
class Run:
    """One module's part in a forward. A module that runs several times is known by its last run.

    shape: of its output, without the batch; None where the output is no single tensor. times: runs in one
    forward. form: how the output is read as a feature map; None where it is none.
    """

    kind: str
    shape: tuple[int, ...] | None
    times: int
    form: MapForm | None

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


def observe(module: nn.Module, images: Tensor) -> tuple[dict[str, Run], Any]:
    """Run ``module`` once: its submodules in the order of their (last) end, and its output.

    Args: images: (B, 3, S, S) float32, normalised; B should be no number of anything else: 2 and not 1.
    """
    seen, output = _seen(module, images)
    shapes = {name: shape for name, (_, shape, _) in seen.items()}

    def shapes_at_another_size() -> dict[str, tuple[int, ...] | None]:
        larger = torch.zeros(len(images), 3, 2 * images.shape[2], 2 * images.shape[3], device=images.device)
        try:
            return {name: shape for name, (_, shape, _) in _seen(module, larger)[0].items()}
        except IMAGE_FAILURES:
            return {}

    forms = map_forms(module, shapes, len(images), images.shape[3], shapes_at_another_size)
    runs = {
        name: Run(kind, shape[1:] if shape else shape, times, forms.get(name))
        for name, (kind, shape, times) in seen.items()
    }
    return runs, output


def _seen(
    module: nn.Module, images: Tensor
) -> tuple[dict[str, tuple[str, tuple[int, ...] | None, int]], Any]:
    """Layer -> kind, shape of its output (None: no tensor) and runs; and the network's output."""
    seen: dict[str, tuple[str, tuple[int, ...] | None, int]] = {}

    def hook_for(name: str) -> Hook:
        def hook(submodule: nn.Module, _: Any, output: Any) -> None:
            _, _, times = seen.pop(name, ("", None, 0))
            shape = tuple(output.shape) if isinstance(output, Tensor) else None
            seen[name] = (type(submodule).__name__, shape, times + 1)

        return hook

    # TorchScript takes no hooks.
    names = [
        name for name, part in module.named_modules() if name and not isinstance(part, torch.jit.ScriptModule)
    ]
    with torch.no_grad(), hooked(module, {name: hook_for(name) for name in names}):
        output = module(images)
    return seen, output
