"""A user's own network: a callable that returns it, from a module or file, or the network itself."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.label_file import parse_names
from atlas_pipeline.models.plain_module import is_lazy, materialise, uncompile, unwrapped
from atlas_pipeline.models.preprocess import Preprocess, declared_preprocess
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.user_target import PythonTarget, locate
from atlas_pipeline.user_code import import_file, importing_from, reason_of, running_as_script


@dataclass(frozen=True, slots=True)
class UserModel:
    """The contents of a user's module: the network or its builder, and optionally LABELS and PREPROCESS."""

    build: Any
    labels: tuple[str, ...] | None
    preprocess: Preprocess


def load_target(name: str | None) -> UserModel:
    """Import ``my_package.my_file:build`` or ``path/to/file.py:build``. This runs the user's code.

    The code sees an empty command line, so a training script that parses its arguments gets their defaults.

    Raises: ModelError: no such file, an error during import, or no such attribute.
    """
    target = locate(name)
    try:
        with running_as_script(target.file), preserved_torch_state():
            module = _import(target)
    except (Exception, SystemExit) as error:
        raise ModelError(f"model.name: importing '{target.file.name}' failed: {reason_of(error)}") from error
    if not hasattr(module, target.attribute):
        public = ", ".join(k for k in vars(module) if not k.startswith("_") and callable(getattr(module, k)))
        raise ModelError(
            f"model.name: '{target.file.name}' has no '{target.attribute}'; it has: {public or 'nothing'}"
        )
    labels, preprocess = getattr(module, "LABELS", None), getattr(module, "PREPROCESS", {})
    if not isinstance(preprocess, Mapping):
        raise ModelError(
            f"PREPROCESS of '{target.file.name}' must be a mapping, got {type(preprocess).__name__}"
        )
    return UserModel(
        build=getattr(module, target.attribute),
        labels=_labels(labels, f"LABELS of '{target.file.name}'"),
        preprocess=declared_preprocess(preprocess, f"PREPROCESS of '{target.file.name}'"),
    )


def _labels(labels: Any, where: str) -> tuple[str, ...] | None:
    if labels is None or (hasattr(labels, "__len__") and not len(labels)):
        return None
    names = parse_names(labels, where).names
    return tuple(names[index] for index in sorted(names))


def build_module(spec: ModelSpec, model: UserModel) -> nn.Module:
    """The network without wrappers: the callable's result, or a copy of the user's own instance.

    Raises: ModelError: the callable fails, or returns something other than an nn.Module that can be
            inspected.
    """
    if isinstance(model.build, nn.Module):
        module = _copied(unwrapped(model.build, f"model.name: '{spec.name}'"), spec)
    elif callable(model.build):
        module = _built(spec, model)
    else:
        raise ModelError(
            f"model.name: '{spec.name}' is {type(model.build).__name__}; it must be callable or nn.Module"
        )
    uncompile(module)
    if is_lazy(module):
        preprocess = model.preprocess.override(spec.preprocess, "model.preprocess")
        materialise(module, module, preprocess.crop, f"model.name: '{spec.name}'")
    return module


def _built(spec: ModelSpec, model: UserModel) -> nn.Module:
    file = locate(spec.name).file
    try:
        with running_as_script(file), preserved_torch_state():
            module = model.build()
    except (Exception, SystemExit) as error:
        raise ModelError(f"model.name: calling '{spec.name}' failed: {reason_of(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"model.name: '{spec.name}' returned {type(module).__name__}; it must return an nn.Module"
        )
    return unwrapped(module, f"model.name: what '{spec.name}' returned")


def _copied(instance: nn.Module, spec: ModelSpec) -> nn.Module:
    """A copy, since the user's own instance must not be frozen, moved or filled with weights."""
    # Weights computed from other tensors, as with weight_norm, have a history, which deepcopy refuses.
    memo = {
        id(value): value.detach().clone()
        for part in instance.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        module = copy.deepcopy(instance, memo)
    except Exception as error:
        # Locks, open files, generators: a user's module may hold anything.
        raise ModelError(
            f"model.name: '{spec.name}' cannot be copied ({reason_of(error)}); give a function that builds it"
        ) from error
    if spec.weights_kind == "random":
        # Its parameters were drawn at import, from an arbitrary generator state.
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
    return module


@contextmanager
def preserved_torch_state() -> Iterator[None]:
    """Restore the global state of torch that user code may change."""
    device, dtype, threads = torch.get_default_device(), torch.get_default_dtype(), torch.get_num_threads()
    gradients, precision = torch.is_grad_enabled(), torch.get_float32_matmul_precision()
    deterministic = _determinism()
    cudnn = torch.backends.cudnn
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            # None, since "cpu" would remain a default that every call looks up.
            torch.set_default_device(None if device.type == "cpu" else device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        # The call imports the whole compiler of torch, which takes seconds.
        if _determinism() != deterministic:
            is_on, warns_only = deterministic
            torch.use_deterministic_algorithms(is_on, warn_only=warns_only)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = flags


def _determinism() -> tuple[bool, bool]:
    """Whether torch uses deterministic algorithms, and whether it only warns where it has none."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _import(target: PythonTarget) -> ModuleType:
    if target.module is None:
        return import_file(f"atlas_user_model_{target.file.stem}", target.file)
    with importing_from(Path.cwd()):
        return importlib.import_module(target.module)
