"""Crossings between the host and a pretended GPU: factories with `device=`, `.to`, `.cpu`, `.numpy`."""

from __future__ import annotations

from typing import Any

import torch
from pretended_log import line
from pretended_tensor import GpuTensor, machine, plain
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FROM_VALUES = (torch.tensor, torch.as_tensor, torch.asarray)


class Crossings(TorchFunctionMode):
    """Handles the calls that move tensors, or make them on a device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func in (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu):
            return _moved(func, *args, **kwargs)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and isinstance(first, GpuTensor):
            raise TypeError(f"can't convert cuda:{first.gpu} device type tensor to numpy at {line()}")
        if func is torch.Tensor.tolist and isinstance(first, GpuTensor):
            machine().streams.check_order([first])
            machine().streams.host_waits("tolist", first.gpu)
            return plain(first).tolist()
        if func is torch.Tensor.is_pinned:
            return not isinstance(first, GpuTensor) and machine().is_pinned(first)
        if kwargs.get("device") is not None:
            return _made(func, args, kwargs)
        if kwargs.pop("pin_memory", False):
            return machine().pin(func(*args, **kwargs))
        return func(*args, **kwargs)


def _made(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """A factory's tensor, on the device that it was asked for."""
    pins = kwargs.pop("pin_memory", False)
    device = torch.device(kwargs["device"])
    source = args[0] if args and isinstance(args[0], Tensor) else None
    if func in _FROM_VALUES and source is not None:
        made = func(source, **{**kwargs, "device": source.device})
        return made.to(device)
    if device.type != "cuda":
        made = func(*args, **kwargs)
        made = plain(made) if isinstance(made, GpuTensor) else made
        return machine().pin(made) if pins else made
    kwargs["device"] = "cpu"
    number, log, streams = machine().number(device), machine().log, machine().streams

    def call() -> Any:
        return func(*args, **kwargs)

    result = call()
    result = GpuTensor(plain(result) if isinstance(result, GpuTensor) else result, number)
    rows = len(result) if result.dim() else 1
    if func in _FROM_VALUES:
        log.check("copy to the GPU", rows)
        log.bytes_up += result.numel() * result.element_size()
        streams.host_waits("copy to the GPU", number)
    else:
        name = getattr(func, "__name__", "factory")
        log.check(name, rows)
        if not name.startswith(("empty", "new_empty")):
            log.launch(name)
        streams.record(call, [result])
    streams.stamp([result])
    return result


class _ToGpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, number: int, non_blocking: bool) -> Tensor:
        ctx.number = getattr(tensor, "gpu", None)
        return _copied_up(tensor, number, non_blocking)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        back = _copied_down(gradient, False) if ctx.number is None else _copied_up(gradient, ctx.number, True)
        return back, None, None


class _ToCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: GpuTensor, non_blocking: bool) -> Tensor:
        ctx.number = tensor.gpu
        return _copied_down(tensor, non_blocking)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _copied_up(gradient, ctx.number, False), None


def _moved(
    func: Any,
    tensor: Tensor,
    *options: Any,
    device: Any = None,
    dtype: torch.dtype | None = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = torch.preserve_format,
    other: Tensor | None = None,
) -> Tensor:
    """`Tensor.to`, `.cuda` and `.cpu`."""
    if func is torch.Tensor.cpu:
        device, options = "cpu", ()
    elif func is torch.Tensor.cuda:
        device = "cuda"
    flags = []
    for option in (*options, other):
        if isinstance(option, Tensor):
            device, dtype = option.device, option.dtype
        elif isinstance(option, torch.dtype):
            dtype = option
        elif isinstance(option, bool):
            flags.append(option)
        elif isinstance(option, int):
            device = f"cuda:{option}"
        elif option is not None:
            device = option
    non_blocking, copy = (flags + [non_blocking, copy][len(flags) :])[:2]
    # A copy between devices converts the type first, where the tensor is.
    moved = torch.Tensor.to(tensor, dtype or tensor.dtype, memory_format=memory_format)
    device = moved.device if device is None else torch.device(device)
    if device.type == "cuda":
        number = machine().number(device)
        if getattr(moved, "gpu", None) != number:
            return (
                _ToGpu.apply(moved, number, non_blocking)
                if moved.requires_grad and torch.is_grad_enabled()
                else _copied_up(moved, number, non_blocking)
            )
    elif device.type == "cpu" and isinstance(moved, GpuTensor):
        if moved.requires_grad and torch.is_grad_enabled():
            return _ToCpu.apply(moved, non_blocking)
        return _copied_down(moved, non_blocking)
    elif device.type == "meta":
        return torch.Tensor.to(plain(moved), device)
    return moved.clone() if copy and moved is tensor else moved


def _copied_up(tensor: Tensor, number: int, non_blocking: bool) -> GpuTensor:
    streams, log = machine().streams, machine().log
    machine().number(number)
    log.check("copy to the GPU", len(tensor) if tensor.dim() else 1)
    if isinstance(tensor, GpuTensor):
        # Between two GPUs: the host goes on.
        streams.check_order([tensor])
    else:
        log.bytes_up += tensor.numel() * tensor.element_size()
        streams.upload(plain(tensor), number, is_async=non_blocking and machine().is_pinned(tensor))
    copied = GpuTensor(plain(tensor).clone(), number)
    streams.stamp([copied])
    return copied


def _copied_down(tensor: GpuTensor, non_blocking: bool) -> Tensor:
    streams, log = machine().streams, machine().log
    log.bytes_down += tensor.numel() * tensor.element_size()
    streams.check_order([tensor])
    if not non_blocking:
        streams.host_waits("copy to the CPU", tensor.gpu)
        return plain(tensor).clone()
    # As torch does: the copy goes to page-locked memory, and the host must wait before it reads.
    target = machine().pin(plain(tensor))
    streams.download_later(target, plain(tensor), tensor.gpu)
    return target
