"""Reruns of a network that compute nothing up to a layer: the modules until there give back what they gave.

The network's own code runs from its beginning, so this serves code that cannot be traced, and layers that
values of the image bypass. A module that has ended when the layer's last run ends returns its recorded
output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

Reply = list[Any]
"""One run of a module: holds its output, or nothing if it ended after the layer's last run."""


class Recording:
    """The outputs of modules in one forward pass, up to a layer's last run.

    replies: by module, the runs that the code asks for again. Runs within a run that ended are none of them.
    """

    def __init__(self, network: nn.Module, layer: str, times: int) -> None:
        """Args: times: how often the layer runs in a forward pass."""
        self.network, self.layer, self.times = network, network.get_submodule(layer), times
        self.replies: dict[nn.Module, list[Reply]] = {}

    @property
    def num_layer_runs(self) -> int:
        """How often the layer is called in a replay."""
        return len(self.replies[self.layer])

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the forward pass inside the block."""
        runs: list[tuple[nn.Module, Reply]] = []
        # Places in ``runs`` of the runs that have not ended.
        open_runs: list[int] = []
        layer_runs_left = self.times

        def begins(module: nn.Module, _: Any) -> None:
            if layer_runs_left > 0:
                open_runs.append(len(runs))
                runs.append((module, []))

        def ends(module: nn.Module, _: Any, output: Any) -> None:
            nonlocal layer_runs_left
            if layer_runs_left > 0:
                layer_runs_left -= module is self.layer
                place = open_runs.pop()
                # Runs that raised have no end.
                while runs[place][0] is not module:
                    place = open_runs.pop()
                del runs[place + 1 :]
                # A copy, since later operations may write in place.
                runs[place][1].append(_copied(output))

        with ExitStack() as stack:
            for part in _parts(self.network):
                stack.callback(part.register_forward_pre_hook(begins).remove)
                stack.callback(part.register_forward_hook(ends).remove)
            yield
        for module, reply in runs:
            self.replies.setdefault(module, []).append(reply)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Give back what was recorded, in a forward pass of the same images inside the block."""
        with ExitStack() as stack:
            for module, replies in self.replies.items():
                if any(replies):
                    own = vars(module).get("forward")
                    stack.callback(_restore, module, own)
                    # An attribute of the instance hides the method of its class.
                    vars(module)["forward"] = _replying(module.forward, replies)
            yield


def _replying(forward: Callable[..., Any], replies: list[Reply]) -> Callable[..., Any]:
    left = iter(replies)

    def reply(*args: Any, **kwargs: Any) -> Any:
        outputs = next(left, ())
        return _copied(outputs[0]) if outputs else forward(*args, **kwargs)

    return reply


def _restore(module: nn.Module, own: Any) -> None:
    if own is None:
        vars(module).pop("forward", None)
    else:
        vars(module)["forward"] = own


def _parts(network: nn.Module) -> list[nn.Module]:
    """The submodules that take hooks; TorchScript's do not."""
    named = network.named_modules()
    return [part for name, part in named if name and not isinstance(part, torch.jit.ScriptModule)]


def _copied(output: Any) -> Any:
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, output)
