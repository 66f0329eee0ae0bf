"""Tensors that hold CPU memory and say that they are on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from emulated_tf32 import uses_tf32, with_rounded_factors
from pretended_log import Log, line
from pretended_streams import Streams
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

COPIES = {"_to_copy", "copy_", "set_", "lift_fresh", "lift_fresh_copy"}
# Operations that accept indices on the CPU, and wait for their copy.
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
# Operations whose result's shape or value the host must know.
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique", "_unique2"}
_WAITS |= {"unique_consecutive", "is_nonzero", "bincount"}
# Operations that launch nothing, beside views.
_FREE = ("is_same_size", "_has_same_storage_numel", "as_strided_", "empty", "new_empty", "_unsafe_view")
_FREE += ("_reshape_alias", "detach", "alias", "lift_fresh")


class DeviceMixError(RuntimeError):
    """Tensors of different devices met in one operation."""


class Machine:
    """The state of one `pretended_cuda` block."""

    def __init__(self, num_gpus: int, tf32: bool) -> None:
        self.num_gpus, self.tf32 = num_gpus, tf32
        self.log = Log()
        self.streams = Streams(self.log)
        self.pinned: dict[int, Any] = {}
        """Page-locked memory by address. Kept to the end, so that no address is used twice."""
        self._thread = threading.local()

    def current(self) -> int:
        """The current GPU of this thread."""
        return getattr(self._thread, "gpu", 0)

    def set_current(self, number: int) -> None:
        self._thread.gpu = number

    def number(self, device: Any) -> int:
        """The number of a device that may lack an index; the GPU counts as touched.

        Raises: RuntimeError: there is no such GPU.
        """
        index = device if isinstance(device, int) else None if device is None else torch.device(device).index
        number = self.current() if index is None else index
        if number >= self.num_gpus:
            raise RuntimeError("CUDA error: invalid device ordinal")
        if number not in self.log.contexts:
            self.log.contexts[number] = line()
        return number

    def is_pinned(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self.pinned

    def pin(self, tensor: Tensor) -> Tensor:
        """A copy in page-locked memory."""
        self.log.check("pin_memory", len(tensor) if tensor.dim() else 1)
        if not self.log.touched:
            # Pinning creates a context where there is none.
            self.number(None)
        copied = plain(tensor).clone()
        self.pinned[copied.untyped_storage().data_ptr()] = copied.untyped_storage()
        return copied


_machines: list[Machine] = []


def machine() -> Machine:
    """The innermost pretended machine."""
    return _machines[-1]


class _Inside(threading.local):
    """Whether this thread is inside an operation, where a tensor is the CPU tensor that it really is."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


INSIDE = _Inside()


class GpuTensor(Tensor):
    """A CPU tensor that says that it is on a GPU. gpu: the number of the GPU."""

    gpu: int

    @staticmethod
    def __new__(cls, values: Tensor, gpu: int) -> GpuTensor:
        with no_dispatch(), torch._C.DisableTorchFunctionSubclass():
            tensor = Tensor._make_subclass(cls, values.detach(), values.requires_grad)
        tensor.gpu = gpu
        return tensor

    device = property(lambda self: torch.device("cpu") if INSIDE.depth else torch.device("cuda", self.gpu))
    is_cuda = property(lambda self: not INSIDE.depth)
    is_cpu = property(lambda self: bool(INSIDE.depth))

    def get_device(self) -> int:
        return self.gpu

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = self.detach().clone().requires_grad_(self.requires_grad)
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        return memo[id(self)]

    def __repr__(self, **_: object) -> str:
        return f"GpuTensor({tuple(self.shape)}, {self.dtype}, cuda:{self.gpu})"

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Crossings have been handled when an operation comes here, so none of its own calls is one.
        with torch._C.DisableTorchFunction():
            return cls._dispatched(func, args, kwargs or {})

    @classmethod
    def _dispatched(cls, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._overloadpacket.__name__
        tensors = tensors_in([*args, *kwargs.values()])
        ours = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
        if not ours or func.namespace == "prims":
            with no_dispatch(), INSIDE:
                return func(*args, **kwargs)
        log, streams = machine().log, machine().streams
        if name == "copy_":
            return _copy(func, args, kwargs)
        _check_devices(name, args, tensors, ours)
        if waits := _reason_to_wait(name, args):
            streams.host_waits(waits, ours[0].gpu)
        is_kernel = not (func.is_view or name.startswith(_FREE))
        if is_kernel:
            if log.refusals:
                log.check(name, _rows(args))
            streams.check_order(ours)
        written = _written(func, args, kwargs)
        streams.before_write(written)
        call, again = _call(func, args, kwargs)
        result = call()
        if written:
            streams.stamp(written)
            streams.record(again, [])
            outcome = result if not isinstance(result, Tensor) or isinstance(result, GpuTensor) else args[0]
        else:
            gpu = ours[0].gpu
            outcome = _on_gpu(result, gpu)
            if not func.is_view:
                results = [tensor for tensor in tensors_in([outcome]) if isinstance(tensor, GpuTensor)]
                streams.stamp(results)
                streams.record(again, results)
        if is_kernel:
            log.launch(name)
            if log.trace is not None:
                log.trace.append((func, args, kwargs, outcome))
        return outcome


def plain(tensor: Tensor) -> Tensor:
    """The CPU tensor that a tensor really is; shares its memory."""
    with no_dispatch(), torch._C.DisableTorchFunctionSubclass():
        return Tensor._make_subclass(Tensor, tensor.detach())


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors among the values of an ATen operation: each a tensor, a sequence of tensors or neither."""
    found = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found


def _map_tensors(change: Callable[[Tensor], Any], value: Any) -> Any:
    """A value of an ATen operation with its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_map_tensors(change, one) for one in value])
    return value


def _on_gpu(result: Any, gpu: int) -> Any:
    return _map_tensors(
        lambda t: t if isinstance(t, GpuTensor) or t.is_meta else GpuTensor(t, gpu),
        result,
    )


@cache
def _arguments_written(func: Any) -> list[tuple[int, str]]:
    """(position, name) of the arguments that an operation changes in place."""
    return [
        (number, argument.name)
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[GpuTensor]:
    """GPU tensors that an operation changes in place."""
    values = [
        kwargs.get(name, args[number] if number < len(args) else None)
        for number, name in _arguments_written(func)
    ]
    return [tensor for tensor in tensors_in(values) if isinstance(tensor, GpuTensor)]


def _rows(args: Any) -> int:
    """The batch: first axis of the first argument that is not a vector, such as a bias."""
    tensors = [tensor for tensor in tensors_in(args) if tensor.dim()]
    matrices = [tensor for tensor in tensors if tensor.dim() > 1]
    return len((matrices or tensors)[0]) if tensors else 1


def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The operation on the tensors' real memory, once and for a graph; TF32 is as the switches are now."""
    name = func._overloadpacket.__name__
    rounds = machine().tf32 and uses_tf32(name)

    def run(args: Any, kwargs: dict[str, Any]) -> Any:
        return func(*(with_rounded_factors(name, args) if rounds else args), **kwargs)

    def call() -> Any:
        with no_dispatch(), INSIDE:
            return run(args, kwargs)

    if machine().streams.capturing is None:
        return call, call
    # A graph repeats it many times, on the same memory.
    plain_args = _map_tensors(plain, args)
    plain_kwargs = {name: _map_tensors(plain, value) for name, value in kwargs.items()}
    return call, lambda: run(plain_args, plain_kwargs)


def _check_devices(name: str, args: Any, tensors: list[Tensor], ours: list[GpuTensor]) -> None:
    strangers = [tensor for tensor in tensors if _is_stranger(tensor)]
    gpus = {tensor.gpu for tensor in ours}
    if name not in COPIES and (len(gpus) > 1 or (strangers and not _are_indices(name, args, strangers))):
        found = sorted({f"cuda:{gpu}" for gpu in gpus} | {"cpu" for _ in strangers})
        raise DeviceMixError(
            f"{name}: expected all tensors to be on the same device, found {' and '.join(found)} at {line()}"
        )


def _is_stranger(tensor: Tensor) -> bool:
    """Whether a CPU tensor may not meet a GPU tensor. A number, as a tensor without axes, may."""
    if isinstance(tensor, GpuTensor) or tensor.is_meta:
        return False
    return isinstance(tensor, torch.nn.Parameter) or (tensor.dim() > 0 and not _is_made_up_zero(tensor))


def _is_made_up_zero(tensor: Tensor) -> bool:
    """Zeros that forward-mode differentiation made by itself, in a fallback that knows no subclass."""
    if tensor._is_zerotensor():
        return True
    with no_dispatch():
        return forward_ad._current_level >= 0 and not bool(tensor.any())


def _are_indices(name: str, args: Any, strangers: list[Tensor]) -> bool:
    if name not in _INDEXED:
        return False
    indices = [index for index in args[1] if index is not None]
    return all(any(tensor is index for index in indices) for tensor in strangers)


def _reason_to_wait(name: str, args: Any) -> str | None:
    if name in _WAITS or (name == "repeat_interleave" and isinstance(args[-1], Tensor)):
        return name
    if name == "where" and not all(isinstance(value, GpuTensor) for value in args):
        # Torch copies a number to the GPU. Its own gradients make theirs there.
        return None if torch._C._current_autograd_node() else "number in where"
    if name in _INDEXED:
        indices = [index for index in args[1] if index is not None]
        if any(not isinstance(index, GpuTensor) and index.dim() for index in indices):
            return f"indices on the CPU ({name})"
        fills = name.lstrip("_").startswith("index_put") and args[2].numel() == 1
        if not fills and any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            return f"mask as an index ({name})"
    return None


def _copy(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """Copy into an existing tensor, perhaps from another device."""
    target, source = args[:2]
    non_blocking = kwargs.get("non_blocking", args[2] if len(args) > 2 else False)
    streams, log = machine().streams, machine().log
    call, again = _call(func, args, kwargs)
    num_bytes = target.numel() * target.element_size()
    if not isinstance(target, GpuTensor):
        log.bytes_down += num_bytes
        streams.check_order([source])
        if non_blocking and machine().is_pinned(target):
            streams.download_later(target, plain(source).to(target.dtype).expand(target.shape), source.gpu)
        else:
            streams.host_waits("copy to the CPU", source.gpu)
            call()
        return target
    if not isinstance(source, GpuTensor) and source.dim():
        log.check("copy to the GPU", len(source))
        log.bytes_up += num_bytes
        streams.upload(source, target.gpu, is_async=non_blocking and machine().is_pinned(source))
    streams.check_order([t for t in (target, source) if isinstance(t, GpuTensor)])
    streams.before_write([target])
    call()
    streams.stamp([target])
    streams.record(again, [])
    log.launch("copy_")
    return target
