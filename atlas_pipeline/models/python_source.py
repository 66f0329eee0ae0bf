"""A user's own network: a callable of a module or file that returns it, or the network itself."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.label_file import names_of
from atlas_pipeline.models.preprocess import Preprocess, declared_preprocess
from atlas_pipeline.models.python_target import PythonTarget, locate
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.user_code import import_file, reason_of, searching


@dataclass(frozen=True, slots=True)
class UserModel:
    """What a user's module offers: the network or what builds it, and optionally LABELS and PREPROCESS."""

    build: Any
    labels: tuple[str, ...] | None
    preprocess: Preprocess


def load_target(name: str | None) -> UserModel:
    """Import ``my_package.my_file:build`` or ``path/to/file.py:build``. This runs the user's code.

    Raises: ModelError: not there, fails while it is imported, or lacks the attribute.
    """
    target = locate(name)
    try:
        module = _import(target)
    except Exception as error:
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
    names = names_of(labels, where).names
    return tuple(names[index] for index in sorted(names))


def build_module(spec: ModelSpec, model: UserModel) -> nn.Module:
    """The network: what the user's callable returns, or a copy of the user's own instance.

    Raises: ModelError: the callable fails, or returns no nn.Module.
    """
    if isinstance(model.build, nn.Module):
        # The instance belongs to the user's module: it is not to be frozen, moved or filled there.
        module = copy.deepcopy(model.build)
        if spec.weights_kind == "random":
            # It was drawn when its module was first imported, by whatever state the generator was in.
            for part in module.modules():
                reset = getattr(part, "reset_parameters", None)
                if callable(reset):
                    reset()
        return module
    if not callable(model.build):
        raise ModelError(
            f"model.name: '{spec.name}' is {type(model.build).__name__}; it must be callable or nn.Module"
        )
    try:
        module = model.build()
    except Exception as error:
        raise ModelError(f"model.name: calling '{spec.name}' failed: {reason_of(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"model.name: '{spec.name}' returned {type(module).__name__}; it must return an nn.Module"
        )
    return module


def _import(target: PythonTarget) -> ModuleType:
    if target.module is None:
        return import_file(f"atlas_user_model_{target.file.stem}", target.file)
    with searching(Path.cwd()):
        return importlib.import_module(target.module)
