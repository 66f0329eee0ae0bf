"""Whether a network's answer to an image depends on that image alone, and which module is to blame if not.

B = batch.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.capture import capture
from atlas_pipeline.models.network import Network

# Relative. Rounding differs between batch sizes, by less than the first number in float32. A module whose
# outputs differ by more than the second is to blame.
ROUNDING, _MODULE_TOLERANCE = 1e-4, 1e-3
# A network that draws random numbers may repeat its answer by chance (stochastic depth of a few per cent).
_MAX_FORWARDS = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """One forward pass.

    logits: (B, class). maps: layer -> (B, channel, row, column). dtypes: layer -> dtype before the conversion
    to float32.
    """

    logits: Tensor
    maps: Mapping[str, Tensor]
    dtypes: Mapping[str, torch.dtype]


def read(network: Network, images: Tensor, layers: Sequence[str]) -> Reading:
    """Run one full forward pass.

    Raises: ModelError: the output is no logits, or a layer did not run. The network's code may raise
            anything.
    """
    with torch.no_grad(), capture(network.module, layers) as outputs:
        logits = network.logits(images)
    if missing := [layer for layer in layers if layer not in outputs]:
        raise ModelError(
            f"layer '{missing[0]}' of {network.name} did not run for these images; take another layer"
        )
    return Reading(
        logits,
        {layer: network.feature_map(layer, outputs[layer]) for layer in layers},
        {layer: outputs[layer].dtype for layer in layers},
    )


def difference(values: Tensor, reference: Tensor) -> float:
    """Largest |values - reference| / |reference| over the images, with norms over all other axes.

    An image with a reference of 0 is divided by the largest norm. Different shapes give infinity.
    """
    if values.shape != reference.shape:
        return float("inf")
    if not values.numel():
        return 0.0
    ours, theirs = (torch.nan_to_num(tensor.detach().float().flatten(1)) for tensor in (values, reference))
    norms = theirs.norm(dim=1)
    scale = torch.where(norms > 0, norms, norms.max())
    apart = (ours - theirs).norm(dim=1)
    return float(torch.where(apart > 0, apart / scale, 0.0).max())


def differences(readings: Sequence[Reading], reference: Reading) -> dict[str, float]:
    """The largest difference of any reading from the reference, by layer, and under "" for the logits."""
    layers = ["", *reference.maps]

    def part(reading: Reading, layer: str) -> Tensor:
        return reading.maps[layer] if layer else reading.logits

    return {
        layer: max(difference(part(reading, layer), part(reference, layer)) for reading in readings)
        for layer in layers
    }


def read_again(network: Network, images: Tensor, layers: Sequence[str], first: Reading) -> list[Reading]:
    """Repeat the forward pass of the same images: once, or several times if it draws random numbers."""
    before = _random_states(network.device)
    readings = [read(network, images, layers)]
    if _random_states(network.device) == before:
        return readings
    while len(readings) < _MAX_FORWARDS and max(differences(readings, first).values()) <= _MODULE_TOLERANCE:
        readings.append(read(network, images, layers))
    return readings


def read_separately(network: Network, images: Tensor, layers: Sequence[str]) -> Reading:
    """Read the last image alone and the others in reverse order, then restore the order."""
    backwards = images.flip(0)
    alone, others = (read(network, some, layers) for some in (backwards[:1], backwards[1:]))
    return Reading(
        torch.cat([alone.logits, others.logits]).flip(0),
        {layer: torch.cat([alone.maps[layer], others.maps[layer]]).flip(0) for layer in layers},
        others.dtypes,
    )


def draws_random_numbers(network: Network, images: Tensor) -> bool:
    """Whether a forward pass uses torch's, Python's or NumPy's random generator."""
    before = _random_states(network.device)
    read(network, images, [])
    return _random_states(network.device) != before


def _random_states(device: torch.device) -> tuple[Any, ...]:
    # The global generator, which a network's code would use.
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state(device).numpy().tobytes() if device.type == "cuda" else b""
    return (
        torch.get_rng_state().numpy().tobytes(),
        cuda,
        random.getstate(),
        numpy_state[1].tobytes(),
        numpy_state[2],
    )


def describe_random_module(network: Network, images: Tensor) -> str:
    """Describe the module that gives different outputs for equal inputs; "" if it cannot be found."""
    for _ in range(_MAX_FORWARDS):
        found = _first_differing_module(network, images[:2], images[:2])
        if found is not None:
            break
    else:
        return ""
    name, module, later = found
    if module.training:
        return (
            f"{module_label(name, module)} is in training mode after eval(); "
            "do not override train() or eval()"
        )
    if any(True for _ in module.children()) or not name:
        return (
            f"the forward of {module_label(name, module)} draws random numbers{_before(later)}; "
            "pass training=self.training, e.g. to F.dropout"
        )
    return f"{module_label(name, module)} is random; make it do nothing in eval mode"


def describe_mixing_module(network: Network, images: Tensor) -> str:
    """Describe the module through which the images of a batch affect each other; "" if it cannot be found."""
    found = _first_differing_module(network, images[:1], images)
    if found is None:
        return ""
    name, module, later = found
    if isinstance(module, _BatchNorm | _InstanceNorm) and module.running_mean is None:
        return (
            f"{module_label(name, module)} has no running statistics and normalises by the batch; build it "
            "with track_running_stats=True and load its statistics, or use a GroupNorm"
        )
    if module.training:
        return (
            f"{module_label(name, module)} is in training mode after eval(); "
            "do not override train() or eval()"
        )
    if any(True for _ in module.children()) or not name:
        return f"the forward of {module_label(name, module)} mixes the images of a batch{_before(later)}"
    return f"{module_label(name, module)} mixes the images of a batch"


def module_label(name: str, module: nn.Module) -> str:
    """A module's name and class, for messages."""
    return f"'{name}' ({type(module).__name__})" if name else type(module).__name__


def _before(later: str) -> str:
    return f" before '{later}'" if later else ""


_Trail = dict[tuple[str, int], tuple[list[Tensor], list[Tensor]]]


def _first_differing_module(network: Network, few: Tensor, many: Tensor) -> tuple[str, nn.Module, str] | None:
    """The module that finishes first among those with equal inputs and different outputs in two passes.

    Args:    few, many: images; ``many`` begins with ``few``.
    Returns: its name, the module, and the name of the first module inside it whose input differs ("": none).
    """
    first, second = _trail(network, few, len(few)), _trail(network, many, len(few))
    changed_inputs: list[str] = []
    for key, (inputs, outputs) in first.items():
        name, _ = key
        if key not in second:
            continue
        if _differ(inputs, second[key][0]):
            changed_inputs.append(name)
        elif _differ(outputs, second[key][1]):
            inside = [other for other in changed_inputs if not name or other.startswith(f"{name}.")]
            return name, network.module.get_submodule(name), inside[0] if inside else ""
    return None


def _trail(network: Network, images: Tensor, num_images: int) -> _Trail:
    """Inputs and outputs of the first images, by module and run, in the order in which the runs finish."""
    inputs: dict[tuple[str, int], list[Tensor]] = {}
    trail: _Trail = {}
    runs: Counter[str] = Counter()

    def kept(value: Any) -> list[Tensor]:
        batch_tensors = (t for t in _tensors(value) if t.dim() and t.shape[0] == len(images))
        # Copies, since later layers may work in place.
        return [tensor[:num_images].detach().clone() for tensor in batch_tensors]

    with torch.no_grad(), ExitStack() as stack:
        for name, module in network.module.named_modules():

            def before(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                inputs[name, runs[name]] = kept((args, kwargs))

            def after(_: nn.Module, args: Any, output: Any, name: str = name) -> None:
                key = name, runs[name]
                runs[name] += 1
                trail[key] = inputs.pop(key, []), kept(output)

            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        network.logits(images)
    return trail


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _differ(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return any(difference(a, b) > _MODULE_TOLERANCE for a, b in zip(ours, theirs, strict=False))
