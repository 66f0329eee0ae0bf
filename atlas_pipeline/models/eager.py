"""Forwards that run a network's own code: uncompiled, and without gradient checkpointing.

Compiled code loses forward-mode derivatives, and hooks that are added later may not run in it. Checkpointed
code runs twice, the first time without gradients, so that neither derivatives nor a replaced output pass
through it; it saves memory in training only.
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
    """Stands in for ``torch.utils.checkpoint.CheckpointFunction``."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:
        return function(*args)


def _no_generator(*_: Any, **__: Any) -> Iterator[None]:
    """Stands in for the non-reentrant form: what it would save around the forward is not saved."""
    yield


_PLAIN = {"CheckpointFunction": _NoCheckpoint, "_checkpoint_without_reentrant_generator": _no_generator}


@contextmanager
def eager() -> Iterator[None]:
    """Within it ``torch.compile`` and ``torch.utils.checkpoint`` do nothing.

    Whether gradients are on is put back: a forward may turn them off for good.
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
        # Without dynamo nothing is compiled, and importing it takes seconds.
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
