"""A GPU that is not there, for tests: tensors hold CPU memory and say `cuda:0`.

    with pretended_cuda() as log:
        run(device="cuda")
    assert log.num_waits <= 3

Pretended: one or more GPUs. Values are computed on the CPU, to the bit. An operation on tensors of two
devices raises `DeviceMixError`, as does `.numpy()` of a GPU tensor (TypeError). The log counts each wait of
the host and each launch by line of our code, bytes up and down, and the GPUs that were touched.
`log.refuse` raises a lack of memory at a chosen call. Streams, events and graphs check order: reading page-
locked memory before its copy has finished yields garbage, using another stream's tensor without waiting
raises, and a captured graph replays its operations. With ``tf32`` convolutions and matrix products round as
torch's switches say.

Not pretended: time, memory (the figures are constants), the order of a GPU's sums, random generators of the
device, autocast of CUDA (it runs as the CPU's), kernels written in CUDA or Triton, other processes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from pretended_log import OUT_OF_MEMORY, Log
from pretended_mode import Crossings
from pretended_streams import Event, Graph, Stream, StreamRaceError, capture
from pretended_tensor import DeviceMixError, GpuTensor, Machine, _machines

__all__ = ["OUT_OF_MEMORY", "DeviceMixError", "GpuTensor", "Log", "StreamRaceError", "pretended_cuda"]

TOTAL_BYTES = 141 << 30


@contextlib.contextmanager
def pretended_cuda(
    num_gpus: int = 1, *, tf32: bool = False, free_bytes: int = 130 << 30, peak_bytes: int = 200 << 20
) -> Iterator[Log]:
    """Within the block this machine has GPUs.

    Args: tf32: round as the tensor cores of a GPU do, where torch's switches say so. free_bytes: what the
          driver says is free. peak_bytes: what any block seems to have taken at its peak.
    """
    pretended = Machine(num_gpus, tf32)
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name, value in _functions(pretended, free_bytes, peak_bytes).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.Tensor, "pin_memory", lambda t, *_: pretended.pin(t)))
        stack.enter_context(mock.patch.object(torch.Tensor, "record_stream", _nothing))
        stack.enter_context(mock.patch.object(threading.Thread, "start", _start_with_mode))
        stack.enter_context(_autocast_on_the_cpu())
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        _machines.append(pretended)
        stack.callback(_machines.remove, pretended)
        stack.enter_context(Crossings())
        yield pretended.log


def _nothing(*_: object) -> None:
    """Stand in for calls without an effect here."""


def _functions(pretended: Machine, free_bytes: int, peak_bytes: int) -> dict[str, Any]:
    """The functions of torch.cuda that are replaced, by name."""
    streams, held = pretended.streams, 1 << 30

    def synchronize(device: Any = None) -> None:
        pretended.number(device)
        if streams.capturing is not None:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        streams.host_waits_for_all()

    def asked(value: Any) -> Any:
        def answer(device: Any = None) -> Any:
            pretended.number(device)
            return value

        return answer

    @contextlib.contextmanager
    def device(chosen: Any) -> Iterator[None]:
        before = pretended.current()
        number = before if chosen is None or chosen == -1 else pretended.number(chosen)
        pretended.set_current(number)
        try:
            yield
        finally:
            pretended.set_current(before)

    @contextlib.contextmanager
    def stream(chosen: Stream | None) -> Iterator[None]:
        if chosen is None:
            yield
            return
        with chosen, device(chosen.device_index):
            yield

    properties = SimpleNamespace(
        name="Pretended GPU", total_memory=TOTAL_BYTES, multi_processor_count=132, major=9, minor=0
    )
    return {
        "is_available": lambda: True,
        "is_initialized": lambda: bool(pretended.log.touched),
        "_lazy_init": lambda: None,
        "device_count": lambda: pretended.num_gpus,
        "current_device": pretended.current,
        "set_device": lambda chosen: pretended.set_current(pretended.number(chosen)),
        "device": device,
        "synchronize": synchronize,
        "empty_cache": lambda: None,
        "mem_get_info": asked((free_bytes, TOTAL_BYTES)),
        "memory_allocated": asked(held),
        "memory_reserved": asked(held),
        "max_memory_allocated": asked(held + peak_bytes),
        "max_memory_reserved": asked(held + peak_bytes),
        "reset_peak_memory_stats": asked(None),
        "memory_stats": asked({}),
        "get_device_name": asked(properties.name),
        "get_device_capability": asked((properties.major, properties.minor)),
        "get_device_properties": asked(properties),
        "is_bf16_supported": lambda *_, **__: True,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "Stream": Stream,
        "ExternalStream": Stream,
        "Event": Event,
        "stream": stream,
        "current_stream": streams.current,
        "default_stream": streams.default,
        "set_stream": streams.set_current,
        "CUDAGraph": Graph,
        "graph": capture,
        "graph_pool_handle": lambda: (0, 0),
        "is_current_stream_capturing": lambda: streams.capturing is not None,
    }


_start = threading.Thread.start


def _start_with_mode(thread: threading.Thread) -> None:
    """Start a thread; modes of torch belong to a thread, the pretended GPUs to all."""
    run = thread.run

    def run_with_mode() -> None:
        # A thread that outlives the block finds no machine any more.
        with Crossings() if _machines else contextlib.nullcontext():
            run()

    thread.run = run_with_mode  # type: ignore[method-assign]
    _start(thread)


@contextlib.contextmanager
def _autocast_on_the_cpu() -> Iterator[None]:
    """`torch.autocast("cuda")` acts on the CPU, where the tensors really are."""
    before = torch.amp.autocast_mode.autocast.__init__

    def begin(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        before(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    with mock.patch.object(torch.amp.autocast_mode.autocast, "__init__", begin):
        yield
