"""Forward passes that run a network's own code: no compilation, no gradient checkpointing.

Compiled code loses forward-mode derivatives, and hooks added later may not run in it. Checkpointed code runs
twice, first without gradients, so neither derivatives nor a replaced output pass through it. Checkpointing
saves memory in training only.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import checkpoint

_lock = threading.Lock()
_num_inside = 0
_originals: dict[str, Any] = {}


class _NoCheckpoint:
    """Replacement for ``torch.utils.checkpoint.CheckpointFunction`` that calls the function directly."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:
        return function(*args)


def _no_generator(*_: Any, **__: Any) -> Iterator[None]:
    """Replacement for the non-reentrant form of checkpointing that saves nothing."""
    yield


_PLAIN = {"CheckpointFunction": _NoCheckpoint, "_checkpoint_without_reentrant_generator": _no_generator}


@contextmanager
def eager() -> Iterator[None]:
    """Turn ``torch.compile`` and ``torch.utils.checkpoint`` off inside the block.

    The gradient mode is restored afterwards, since a forward pass may turn gradients off for good.
    """
    global _num_inside
    gradients = torch.is_grad_enabled()
    with _lock:
        if _num_inside == 0:
            for name, plain in _PLAIN.items():
                _originals[name] = getattr(checkpoint, name)
                setattr(checkpoint, name, plain)
        _num_inside += 1
    try:
        # If dynamo was never imported, nothing is compiled; importing it takes seconds.
        if "torch._dynamo" in sys.modules:
            with torch.compiler.set_stance("force_eager"):
                yield
        else:
            yield
    finally:
        torch.set_grad_enabled(gradients)
        with _lock:
            _num_inside -= 1
            if _num_inside == 0:
                for name, original in _originals.items():
                    setattr(checkpoint, name, original)
