"""What one forward runs: every module, in the order in which it finishes, and what comes out. B = batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One module's part in a forward. A module that runs several times is known by its last run.

    shape: of its output with the batch first, or None where the output is no single tensor. times: runs in
    one forward.
    """

    kind: str
    shape: tuple[int, ...] | None
    times: int

    @property
    def is_map(self) -> bool:
        """Whether the output is (B, channel, height, width).

        Four axes of which only the two in the middle agree, for a square image, are (B, height, width,
        channel), as in Swin transformers: no map for us.
        """
        if self.shape is None or len(self.shape) != 4:
            return False
        _, a, b, c = self.shape
        return not (a == b != c)


@contextmanager
def hooked(module: nn.Module, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Forward hooks on submodules by name, released however the block ends."""
    with ExitStack() as stack:
        for name, hook in hooks.items():
            # always_call would run the hook on a failed forward too: it must see outputs only.
            handle = module.get_submodule(name).register_forward_hook(hook)
            stack.callback(handle.remove)
        yield


def observe(module: nn.Module, images: Tensor) -> tuple[dict[str, Run], Any]:
    """Run ``module`` once: its submodules in the order of their (last) end, and its output.

    Args: images: (B, 3, height, width) float32, normalised.
    """
    runs: dict[str, Run] = {}

    def hook_for(name: str) -> Hook:
        def hook(submodule: nn.Module, _: Any, output: Any) -> None:
            earlier = runs.pop(name, None)
            shape = tuple(output.shape) if isinstance(output, Tensor) else None
            runs[name] = Run(type(submodule).__name__, shape, 1 + (earlier.times if earlier else 0))

        return hook

    names = [name for name, _ in module.named_modules() if name]
    with torch.no_grad(), hooked(module, {name: hook_for(name) for name in names}):
        output = module(images)
    return runs, output
