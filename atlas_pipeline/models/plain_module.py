"""A user's module as plain PyTorch: unwrapped, uncompiled, with real parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from atlas_pipeline.errors import ModelError

# Attributes in which wrappers hold the network; layer names begin with them.
WRAPPERS = ("_orig_mod", "module")


def unwrapped(module: nn.Module, where: str) -> nn.Module:
    """The network inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``.

    Args:   where: the network, for the message.
    Raises: ModelError: a TorchScript module, whose layers cannot be inspected.
    """
    while (inner := _wrapped(module)) is not None:
        module = inner
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{where} is a TorchScript module (scripted or traced), whose layers cannot be inspected; give "
            "the nn.Module that it was made from"
        )
    return module


def uncompile(module: nn.Module) -> nn.Module:
    """Undo compilation and wrappers of submodules, in place, and return ``module``."""
    for part in list(module.modules()):
        # Module.compile() sets this.
        part._compiled_call_impl = None
        for name, child in list(part.named_children()):
            if _is_compiled(child):
                part._modules[name] = child._orig_mod  # type: ignore[assignment]
            elif isinstance(child, nn.DataParallel):
                # Without device ids it calls the wrapped network; user code may refer to that as .module.
                child.device_ids = []
    return module


def _wrapped(module: nn.Module) -> nn.Module | None:
    if _is_compiled(module):
        return module._orig_mod  # type: ignore[return-value]
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return module.module
    return None


def _is_compiled(module: nn.Module) -> bool:
    # By name, since importing the class takes seconds.
    return type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")


def without_wrappers(layer: str) -> str:
    """A layer's name without the leading names of wrappers around the network."""
    while (parts := layer.split(".", 1))[0] in WRAPPERS and len(parts) == 2:
        layer = parts[1]
    return layer


def is_lazy(module: nn.Module) -> bool:
    """Whether some layer waits for its first input to determine its shape."""
    return any(
        isinstance(part, LazyModuleMixin) and part.has_uninitialized_params() for part in module.modules()
    )


def materialise(module: nn.Module, forward: Callable[[Tensor], object], size_px: int, where: str) -> None:
    """Give lazy layers their shapes with one forward pass; parameters are drawn by the current generator.

    Raises: ModelError: the forward pass fails, or leaves some layer uninitialised.
    """
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()
            forward(torch.zeros(2, 3, size_px, size_px))
    except Exception as error:
        raise ModelError(
            f"{where} has lazy layers that an image of {size_px} px cannot initialise: {first_line(error)}"
        ) from error
    finally:
        module.train(was_training)
    if is_lazy(module):
        raise ModelError(f"{where} has lazy layers that its forward does not run; remove them")


def fold_parametrisations(module: nn.Module) -> None:
    """Turn computed weights (weight and spectral norm, parametrizations, pruning) into plain parameters.

    They get the values of eval mode. Tensors recomputed in every forward pass can neither be copied nor
    folded into later layers.
    """
    for part in list(module.modules()):
        for hook in list(part._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(part, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(part, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                prune.remove(part, hook._tensor_name)
        if parametrize.is_parametrized(part):
            for name in list(part.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a final full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
