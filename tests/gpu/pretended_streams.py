"""Pretended CUDA streams, events and graphs.

Every operation is computed at once, on the CPU. The streams still know what a real device would not yet have
finished: the host's reading too early, or a stream's reading what another may still write, raises or yields
garbage.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pretended_log import Log, line
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

_GARBAGE = 0xA5


class StreamRaceError(RuntimeError):
    """A stream or the host reads memory that another stream may not have finished writing."""


@dataclass(eq=False)
class _Upload:
    """A copy from page-locked memory that the device may not have finished."""

    source: Tensor
    values: Tensor
    place: str

    def finish(self) -> None:
        with no_dispatch():
            if not torch.equal(_bytes(self.source), _bytes(self.values)):
                raise StreamRaceError(
                    f"page-locked memory changed before the copy of {self.place} had finished"
                )


@dataclass(eq=False)
class _Download:
    """A copy to page-locked memory. Until the host waits for it, the memory holds garbage."""

    target: Tensor
    values: Tensor

    def finish(self) -> None:
        with no_dispatch():
            self.target.copy_(self.values)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


class Stream:
    """A pretended `torch.cuda.Stream`: knows how much of each other stream's work precedes its own."""

    def __init__(self, device: Any = None, priority: int = 0, **_: object) -> None:
        from pretended_tensor import machine

        self._streams = machine().streams
        self.device_index = machine().number(device)
        self.device = torch.device("cuda", self.device_index)
        self.priority = priority
        self.cuda_stream = id(self)
        self.now = 0
        self.before: dict[Stream, int] = {}
        self.copies: list[_Upload | _Download] = []

    def marks(self) -> dict[Stream, int]:
        """How much work of each stream is finished when this stream's work so far is."""
        return {**self.before, self: self.now}

    def wait_marks(self, marks: dict[Stream, int], copies: Sequence[Any]) -> None:
        for stream, count in marks.items():
            self.before[stream] = max(count, self.before.get(stream, 0))
        self.copies += [copy for copy in copies if copy not in self.copies]

    def wait_stream(self, stream: Stream) -> None:
        self.wait_marks(stream.marks(), stream.copies)

    def wait_event(self, event: Event) -> None:
        self.wait_marks(event.marks, event.copies)

    def record_event(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def synchronize(self) -> None:
        self._streams.host_waits("synchronize a stream", self.device_index, self)

    def query(self) -> bool:
        self._streams.host_knows(self.marks(), self.copies)
        return True

    def __enter__(self) -> Stream:
        self._streams.push(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._streams.pop()


class Event:
    """A pretended `torch.cuda.Event`."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.marks: dict[Stream, int] = {}
        self.copies: list[_Upload | _Download] = []
        self.time_s = 0.0

    def record(self, stream: Stream | None = None) -> None:
        from pretended_tensor import machine

        stream = machine().streams.current() if stream is None else stream
        self.marks, self.copies = stream.marks(), list(stream.copies)
        self.time_s = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        from pretended_tensor import machine

        (machine().streams.current() if stream is None else stream).wait_event(self)

    def synchronize(self) -> None:
        from pretended_tensor import machine

        machine().log.wait("synchronize an event")
        machine().streams.host_knows(self.marks, self.copies)

    def query(self) -> bool:
        from pretended_tensor import machine

        machine().streams.host_knows(self.marks, self.copies)
        return True

    def elapsed_time(self, later: Event) -> float:
        return 1e3 * (later.time_s - self.time_s)


class Streams:
    """All streams of a machine, and the last write of each GPU tensor."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._thread = threading.local()
        self._defaults: dict[int, Stream] = {}
        self._written: dict[int, tuple[Stream, int]] = {}
        self._finished: dict[Stream, int] = {}
        self.capturing: Graph | None = None

    def default(self, device: Any = None) -> Stream:
        from pretended_tensor import machine

        number = machine().number(device)
        if number not in self._defaults:
            self._defaults[number] = Stream(number)
        return self._defaults[number]

    def current(self, device: Any = None) -> Stream:
        from pretended_tensor import machine

        number = machine().number(device)
        chosen = [stream for stream in self._stack() if stream.device_index == number]
        return chosen[-1] if chosen else self.default(number)

    def _stack(self) -> list[Stream]:
        if not hasattr(self._thread, "stack"):
            self._thread.stack = []
        return self._thread.stack

    def push(self, stream: Stream) -> None:
        self._stack().append(stream)

    def pop(self) -> None:
        self._stack().pop()

    def set_current(self, stream: Stream) -> None:
        stack = self._stack()
        stack[:] = [other for other in stack if other.device_index != stream.device_index] + [stream]

    # Work that the host knows to be finished.

    def host_waits(self, reason: str, gpu: int, stream: Stream | None = None) -> None:
        """The host waits for a stream of a GPU; counts as a wait, and finishes its copies."""
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({reason})")
        self._log.wait(reason)
        stream = self.current(gpu) if stream is None else stream
        self.host_knows(stream.marks(), stream.copies)

    def host_waits_for_all(self) -> None:
        self._log.wait("synchronize")
        for stream in {*self._defaults.values(), *self._finished, *(s for s, _ in self._written.values())}:
            self.host_knows(stream.marks(), stream.copies)

    def host_knows(self, marks: dict[Stream, int], copies: Sequence[_Upload | _Download]) -> None:
        for stream, count in marks.items():
            self._finished[stream] = max(count, self._finished.get(stream, 0))
        for copy in list(copies):
            copy.finish()
            for stream in marks:
                if copy in stream.copies:
                    stream.copies.remove(copy)

    # The order of reads and writes.

    def check_order(self, tensors: Sequence[Any]) -> None:
        """Raise where the current stream reads what another may still write."""
        for tensor in tensors:
            written = self._written.get(tensor.untyped_storage().data_ptr())
            if written is None:
                continue
            by, count = written
            stream = self.current(tensor.gpu)
            known = max(stream.before.get(by, 0), self._finished.get(by, 0))
            if stream is not by and stream.device_index == by.device_index and known < count:
                raise StreamRaceError(
                    f"{line()} uses a tensor of another stream without waiting for that stream"
                )

    def stamp(self, tensors: Sequence[Any]) -> None:
        """The current stream writes these tensors."""
        self.stamp_addresses((tensor.untyped_storage().data_ptr(), tensor.gpu) for tensor in tensors)

    def stamp_addresses(self, addresses: Iterable[tuple[int, int]]) -> None:
        """The same, by address and GPU."""
        streams: dict[int, Stream] = {}
        for address, gpu in addresses:
            stream = streams[gpu] if gpu in streams else streams.setdefault(gpu, self.current(gpu))
            stream.now += 1
            self._written[address] = (stream, stream.now)

    def upload(self, source: Tensor, gpu: int, is_async: bool) -> None:
        """A copy to the GPU begins; only one from page-locked memory lets the host go on."""
        if not is_async:
            self.host_waits("copy to the GPU", gpu)
        else:
            values = source.detach().clone()
            self.current(gpu).copies.append(_Upload(source.detach(), values, line()))

    def download_later(self, target: Tensor, values: Tensor, gpu: int) -> None:
        """A copy to page-locked memory that the host must wait for."""
        with no_dispatch():
            _fill_with_garbage(target)
            self.current(gpu).copies.append(_Download(target.detach(), values.clone()))

    # Graphs.

    def before_write(self, tensors: Sequence[Any]) -> None:
        if self.capturing is not None:
            self.capturing.keep(tensors)

    def record(self, call: Callable[[], Any], results: Sequence[Any]) -> None:
        if self.capturing is not None:
            self.capturing.calls.append((call, list(results)))
            self.capturing.made.update(result.untyped_storage().data_ptr() for result in results)


def _fill_with_garbage(tensor: Tensor) -> None:
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        tensor.fill_(float("nan"))
    elif tensor.dtype is not torch.bool:
        tensor.fill_(_GARBAGE if tensor.dtype is torch.uint8 else -_GARBAGE % 127)


class Graph:
    """A pretended `torch.cuda.CUDAGraph`: repeats its operations on the same memory.

    As on a GPU, a capture computes nothing: what it wrote is put back, and its results are garbage until the
    first replay. An operation for which the host would wait raises during a capture.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        self.calls: list[tuple[Callable[[], Any], list[Any]]] = []
        self._repeated: list[tuple[Callable[[], Any], list[Tensor]]] = []
        self._addresses: list[tuple[int, int]] = []
        self.num_replays = 0
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.made: set[int] = set()
        self._stream: Stream | None = None

    def keep(self, tensors: Sequence[Any]) -> None:
        """Remember values that the capture is about to overwrite, except those that it made itself."""
        for tensor in tensors:
            address = tensor.untyped_storage().data_ptr()
            if address not in self.made and address not in self._kept:
                with no_dispatch():
                    whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
                    self._kept[address] = (whole, whole.clone())

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        from pretended_tensor import machine

        if machine().streams.capturing is not None:
            raise RuntimeError("CUDA error: a capture is already under way")
        self.calls, self._kept, self.made = [], {}, set()
        machine().streams.capturing = self

    def capture_end(self) -> None:
        from pretended_tensor import machine, plain

        machine().streams.capturing = None
        results = [result for _, results in self.calls for result in results]
        self._repeated = [(call, [plain(result) for result in results]) for call, results in self.calls]
        self._addresses = [(result.untyped_storage().data_ptr(), result.gpu) for result in results]
        with no_dispatch():
            for _, results in self.calls:
                for result in results:
                    _fill_with_garbage(result.detach())
            for whole, before in self._kept.values():
                whole.copy_(before)

    def replay(self) -> None:
        from pretended_tensor import INSIDE, machine, tensors_in

        log, streams = machine().log, machine().streams
        log.check("graph replay", 0)
        log.launch("graph replay")
        self.num_replays += 1
        with torch.no_grad(), no_dispatch(), torch._C.DisableTorchFunction(), INSIDE:
            for call, results in self._repeated:
                values = tensors_in([call()])
                for result, value in zip(results, values, strict=bool(results)):
                    result.copy_(value)
        streams.stamp_addresses(self._addresses)

    def reset(self) -> None:
        self.calls, self._repeated, self._addresses = [], [], []

    def pool(self) -> tuple[int, int]:
        return (0, id(self))


@contextlib.contextmanager
def capture(
    cuda_graph: Graph, pool: Any = None, stream: Stream | None = None, capture_error_mode: str = "global"
) -> Iterator[None]:
    """A pretended `torch.cuda.graph`."""
    from pretended_tensor import machine

    streams = machine().streams
    streams.host_waits_for_all()
    before = streams.current()
    with Stream(before.device_index) if stream is None else stream as side:
        side.wait_stream(before)
        cuda_graph.capture_begin()
        try:
            yield
        finally:
            cuda_graph.capture_end()
    before.wait_stream(side)
