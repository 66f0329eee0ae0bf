"""Weights files, read without running code from them and matched key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.checkpoint.outline import read_outline
from atlas_pipeline.models.checkpoint.sets import COUNTERS, chosen_set, entries_of
from atlas_pipeline.models.checkpoint.tensors import read_tensors
from atlas_pipeline.models.spec import ModelSpec, weights_file, weights_set

NUM_NAMED = 3
SHARD_NAME = re.compile(r"-\d{5}-of-\d{5}\.")
# Dtypes of plain weights; integers indicate a quantised network.
NUMBERS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_state_dict(spec: ModelSpec, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file that fit a network, by the network's names; others keep their own names.

    Prefixes and surrounding mappings are stripped. Among several sets, `spec.weights_set` chooses.

    Args:   expected: the network's state dict, or its tensors under alternative names.
    Raises: ModelError: an unreadable file, no state dict, a pickle that would run code (which is never run
            here), or several sets without a way to choose.
    """
    path = weights_file(spec)
    shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(expected).items()}
    entries = entries_of(read_outline(path), path)
    return read_tensors(chosen_set(entries, shapes, weights_set(spec), path))


def load_weights(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load every key of ``state`` into ``module``.

    Args:   where: the weights and the network, for the message.
    Raises: ModelError: keys that are missing, unexpected or of another shape (the first of them are named),
            or invalid numbers: integers, complex numbers, NaN.
    """
    own = _tensors(module.state_dict())
    # Counters matter to training only, and older files lack them.
    missing = [key for key in own if key not in state and not _is_counter(key)]
    unexpected = [key for key in state if key not in own and not _is_counter(key)]
    misshapen = [
        f"{key} {_shape(state[key])} for {_shape(own[key])}"
        for key in state
        if key in own and state[key].shape != own[key].shape and not _is_counter(key)
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {fault}: {_listed(keys)}" for fault, keys in faults.items() if keys)
        raise ModelError(f"{where}: the weights do not fit. {listed}. {_remedy(own, state, where)}")
    fitting = {key: state[key] for key in state if key in own and state[key].shape == own[key].shape}
    _check_numbers(own, fitting, where)
    module.load_state_dict(fitting, strict=False)


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state dict, without the other values that a module may add (``get_extra_state``)."""
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] in COUNTERS


def _check_numbers(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    """Raises: ModelError: weights that are not real numbers."""
    for key, tensor in state.items():
        if not own[key].is_floating_point():
            continue
        if tensor.dtype not in NUMBERS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ModelError(
                f"{where}: '{key}' holds {kind}; give weights that are not quantised, such as float32"
            )
        if tensor.isnan().any():
            raise ModelError(
                f"{where}: '{key}' holds NaN, as after a training that diverged; give an earlier file"
            )


def _remedy(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> str:
    if SHARD_NAME.search(where):
        return "The file is one of several shards: give the .index.json beside it"
    heads = {
        (state[key].shape[0], own[key].shape[0])
        for key in state
        if key in own and state[key].dim() and own[key].dim() and state[key].shape != own[key].shape
    }
    if len(heads) == 1 and own.keys() == state.keys():
        theirs, ours = heads.pop()
        return f"The weights have {theirs} classes and the network has {ours}: build it with {theirs}"
    return "Check model.name and model.weights"


def other_head(own: Mapping[str, Tensor], state: Mapping[str, Tensor], num_own: int = 1000) -> int | None:
    """The number of classes of fine-tuned weights that differ only in the length of first axes.

    Args:    own, state: state dicts of a network with ``num_own`` classes, and of the weights.
    Returns: None if the weights have as many classes, or differ in other ways.
    """
    misshapen = [k for k in state if k in own and own[k].shape != state[k].shape and not _is_counter(k)]
    sizes = {
        state[k].shape[0] for k in misshapen if state[k].dim() and own[k].dim() and own[k].shape[0] == num_own
    }
    if len(sizes) != 1 or any(own[k].shape[1:] != state[k].shape[1:] for k in misshapen):
        return None
    return sizes.pop()


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:NUM_NAMED]) + (", ..." if len(keys) > NUM_NAMED else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
