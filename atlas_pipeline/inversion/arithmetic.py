"""Precision of the network while an icon is made: float32, TensorFloat-32 or bfloat16."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack

import torch

from atlas_pipeline.models.arithmetic import ieee, tf32


def arithmetic(name: str, device: torch.device) -> AbstractContextManager[object]:
    """Run the network in precision ``name`` within the block; on a CPU, `tf32` is float32.

    Whatever bfloat16 leaves in float32 is computed in full precision.
    """
    if name == "tf32":
        return tf32()
    stack = ExitStack()
    stack.enter_context(ieee())
    if name == "bfloat16":
        stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
    return stack
