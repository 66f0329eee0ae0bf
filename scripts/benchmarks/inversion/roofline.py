"""Roofline of an icon-step: its arithmetic and memory traffic against the limits of the device.

An operation takes at least the time of its multiply-adds at the rate of the fastest matrix product, and at
least the time to move its tensors at the rate of a copy. The sum over operations bounds a step that runs
them one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from atlas_pipeline.inversion import invert
from scripts.benchmarks.inversion.cases import Case
from scripts.benchmarks.inversion.step import synchronise

TRIALS = 5
COUNTED_BATCH = 8


@dataclass(frozen=True)
class Operation:
    """Work of one operation. flops: a multiply-add counts as two."""

    name: str
    flops: float
    num_bytes: float


class OperationLog(TorchDispatchMode):
    """Record every forward and backward operation within the block; views move no data and are skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = func._overloadpacket.__name__
        if not (func.is_view or name.startswith(("empty", "new_empty", "_unsafe_view", "_reshape_alias"))):
            count = flop_registry.get(func._overloadpacket)
            flops = count(*args, **kwargs, out_val=out) if count else 0
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            # The tensor of an in-place operation counts twice: it is read as argument and written as output.
            self.operations.append(Operation(name, flops, sum(t.numel() * t.element_size() for t in tensors)))
        return out


def icon_step_operations(case: Case) -> tuple[list[Operation], list[Operation], int]:
    """Operations of a run of three steps, of a run of two steps, and the number of icons.

    The difference is one step. They are counted on the CPU, where nothing is captured or compiled.
    """
    num = min(COUNTED_BATCH, len(case.directions))
    logs = []
    for steps in (3, 2):
        with OperationLog() as log:
            settings = replace(case.settings, steps=steps)
            invert(case.cut(), case.directions[:num], range(num), settings, batch_size=num)
        logs.append(log.operations)
    return logs[0], logs[1], num


def total_flops(operations: Iterable[Operation]) -> float:
    """Total operations; a multiply-add counts as two."""
    return float(sum(operation.flops for operation in operations))


def bound_seconds(operations: Iterable[Operation], flops_per_s: float, bytes_per_s: float) -> float:
    """Least time to run the operations in sequence, each bound by arithmetic or by memory."""
    return sum(max(o.flops / flops_per_s, o.num_bytes / bytes_per_s) for o in operations)


def ceilings(device: str, side: int) -> dict[str, float]:
    """Rates of the fastest of several square matrix products, flop/s by arithmetic, and copies, bytes/s."""
    rates = {}
    before = torch.get_float32_matmul_precision()
    for name, dtype, precision in (
        ("float32", torch.float32, "highest"),
        ("tf32", torch.float32, "high"),
        ("bfloat16", torch.bfloat16, "highest"),
    ):
        torch.set_float32_matmul_precision(precision)
        left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
        rates[name] = 2 * side**3 / _least_seconds(lambda a=left, b=right: a @ b, device)
    torch.set_float32_matmul_precision(before)
    if not device.startswith("cuda"):
        rates["tf32"] = rates["float32"]
    source = torch.rand(max(1, 16 * side * side), device=device)
    target = torch.empty_like(source)
    copied = 2 * source.numel() * source.element_size()
    return rates | {"bytes_per_s": copied / _least_seconds(lambda: target.copy_(source), device)}


def _least_seconds(work: Callable[[], object], device: str) -> float:
    """Least seconds of one call; on a GPU the mean of ten calls, because a launch takes time itself."""
    calls = 10 if device.startswith("cuda") else 1
    taken = []
    for _ in range(TRIALS + 1):
        synchronise(device)
        started = time.perf_counter()
        for _ in range(calls):
            work()
        synchronise(device)
        taken.append((time.perf_counter() - started) / calls)
    return min(taken[1:])


def account(
    operations: tuple[Sequence[Operation], Sequence[Operation], int],
    rates: dict[str, float],
    arithmetic: str,
    seconds: float,
) -> dict[str, Any]:
    """Compare one icon-step with the ceilings. seconds: measured time of one icon-step."""
    long, short, num = operations
    flops = (total_flops(long) - total_flops(short)) / num
    ceiling, bandwidth = rates[arithmetic], rates["bytes_per_s"]
    bound = (bound_seconds(long, ceiling, bandwidth) - bound_seconds(short, ceiling, bandwidth)) / num
    return {
        "ms_per_icon_step": 1e3 * seconds,
        "icons_per_s_at_512": 1 / (512 * seconds),
        "gflop_per_icon_step": flops / 1e9,
        "tflop_per_s": flops / seconds / 1e12,
        "ceiling_tflop_per_s": ceiling / 1e12,
        "share_of_ceiling": flops / seconds / ceiling,
        "bound_ms": 1e3 * bound,
        "bound_over_measured": bound / seconds,
    }
