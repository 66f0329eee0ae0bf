"""Activations of many layers at chosen positions, with their attributions, for a batch of images.

B = batch, P = positions of an image, C = channels, K = classes. Positions are drawn on the host, so that all
of them go to the device at once, and all results come back at once: a batch makes the host wait only there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution import attribution, path_points
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient
from atlas_pipeline.models.shared_pass import SharedPass
from atlas_pipeline.models.shared_trial import shared_pass

# The tangents of a pass take the memory of this many that begin at the network's largest map, or less.
DIRECTIONS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRequest:
    """How attributions are computed: see ``attribution`` and ``ablation``. classes: None for all."""

    method: Literal["gradient", "integrated", "ablation"]
    num_steps: int = 1
    maxpool_gradient: MaxPoolGradient = "exact"
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRequest:
    """positions: (B, P, 2) integers, row and column in the layer's map. attribution: None for none."""

    layer: str
    positions: NDArray[Any]
    attribution: AttributionRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSample:
    """activations: (B, P, C) float32. attributions: (B, P, K) float32. remark: one line for the user."""

    activations: Tensor
    attributions: Tensor | None
    remark: str | None = None


def map_shape(network: Network, layer: str) -> tuple[int, int, int]:
    """Channels, rows and columns of a layer's map, for images of the network's own size."""
    form, shape = _form(network, layer), network.runs[layer].shape
    assert shape is not None, layer
    return (shape[0] if form.axes == "channels first" else shape[-1]), *form.grid(shape)


@ieee()
def layer_samples(network: Network, images: Tensor, requests: Sequence[LayerRequest]) -> list[LayerSample]:
    """Activations and attributions of layers, on the device of the network.

    Layers that the shared pass serves share one forward pass for all positions; the others take one more, and
    a product for each position. Which of the two serves a layer does not depend on the other layers.

    Args:   images: (B, 3, S, S) in [0, 1] or uint8, on the network's device, of the network's own size.
    Raises: ModelError: as ``attribution``. IndexError: a position outside a map.
    """
    passes = [_pass_of(network, request) for request in requests]
    together = [i for i, found in enumerate(passes) if isinstance(found, SharedPass)]
    samples: dict[int, LayerSample] = {}
    if together:
        shared = passes[together[0]]
        assert isinstance(shared, SharedPass)
        found = _from_shared_pass(shared, images, [requests[i] for i in together])
        samples = {i: sample for i, sample in zip(together, found, strict=True) if sample is not None}
    alone = [i for i in range(len(requests)) if i not in samples]
    if alone:
        others = _one_by_one(network, images, [requests[i] for i in alone])
        samples |= dict(zip(alone, others, strict=True))
    return [samples[i] for i in range(len(requests))]


def _pass_of(network: Network, request: LayerRequest) -> SharedPass | str | None:
    """The pass that serves a request; why there is none; None where none is asked for."""
    how = request.attribution
    if how is None or how.method != "gradient":
        return None
    return shared_pass(network, request.layer, how.maxpool_gradient)


class _Start:
    """The direction of one activation of each image; keeps the activations (B, C)."""

    def __init__(self, form: MapForm, places: Tensor) -> None:
        self.form, self.places = form, places
        self.activation = torch.empty(0)

    def __call__(self, output: Tensor) -> Tensor:
        index, direction = self.form.index(self.places), torch.zeros_like(output)
        activation = output[index]
        direction[index] = activation
        self.activation = activation.float()
        return direction


def _from_shared_pass(
    shared: SharedPass, images: Tensor, requests: Sequence[LayerRequest]
) -> list[LayerSample | None]:
    """Samples of layers that the pass serves; None where no derivative arrived."""
    network = shared.network
    forms = [_form(network, request.layer) for request in requests]
    places = [
        torch.stack([form.places(at, map_shape(network, request.layer)[1:]) for at in _by_position(request)])
        for form, request in zip(forms, requests, strict=True)
    ]
    classes = [torch.tensor(_classes(request) or (), dtype=torch.long) for request in requests]
    on_device = _sent([*places, *classes], images.device)
    places, classes = on_device[: len(requests)], on_device[len(requests) :]
    starts = {
        (i, k): _Start(form, at[k])
        for i, (form, at) in enumerate(zip(forms, places, strict=True))
        for k in range(len(at))
    }
    derivatives: dict[Any, Tensor | None] = {}
    for kind in ("exact", "smooth"):
        # By position first: the layers of one position share a pass.
        keys = sorted((key for key in starts if _kind(requests[key[0]]) == kind), key=lambda key: key[::-1])
        for some in _packed(keys, [_size_of_tangents(network, request.layer) for request in requests]):
            directions = {key: (requests[key[0]].layer, starts[key]) for key in some}
            derivatives |= shared.derivatives(images, directions, kind)
    samples: list[LayerSample | None] = []
    for i, request in enumerate(requests):
        keys = [key for key in starts if key[0] == i]
        found = [along for key in keys if (along := derivatives[key]) is not None]
        if len(found) < len(keys):
            samples.append(None)
            continue
        if _classes(request) is not None:
            found = [along[:, classes[i]] for along in found]
        activations = torch.stack([starts[key].activation for key in keys], dim=1)
        samples.append(LayerSample(activations=activations, attributions=torch.stack(found, dim=1)))
    return samples


def _packed(keys: Iterable[tuple[int, int]], sizes: Sequence[float]) -> Iterator[list[tuple[int, int]]]:
    """Directions (request, position) in groups whose tangents fit into memory together.

    Args: sizes: by request, as ``_size_of_tangents``.
    """
    group: list[tuple[int, int]] = []
    used = 0.0
    for key in keys:
        used += sizes[key[0]]
        if group and used > DIRECTIONS_AT_ONCE:
            yield group
            group, used = [], sizes[key[0]]
        group.append(key)
    if group:
        yield group


def _size_of_tangents(network: Network, layer: str) -> float:
    """The largest output from the layer on, relative to the largest of the network."""
    sizes = [prod(run.shape or (0,)) for run in network.runs.values()]
    return max(sizes[list(network.runs).index(layer) :]) / max(sizes)


def _one_by_one(network: Network, images: Tensor, requests: Sequence[LayerRequest]) -> list[LayerSample]:
    """Samples of layers that take a product for each position, or that have no attributions."""
    with torch.no_grad():
        outputs = layer_outputs(network, images, [request.layer for request in requests])
    places = [
        torch.stack([torch.as_tensor(at.T, dtype=torch.long) for at in _by_position(request)])
        for request in requests
    ]
    which = torch.arange(len(images), device=images.device)
    samples: list[LayerSample] = []
    for request, places_of_layer in zip(requests, _sent(places, images.device), strict=True):
        feature_map = network.feature_map(request.layer, outputs[request.layer])
        activations = [feature_map[which, :, rows, columns] for rows, columns in places_of_layer]
        attributions, remark = None, None
        if request.attribution is not None:
            attributions = _attributions(network, images, request, outputs[request.layer]).float()
            remark = _remark(network, request)
        samples.append(
            LayerSample(activations=torch.stack(activations, dim=1), attributions=attributions, remark=remark)
        )
    return samples


def _attributions(network: Network, images: Tensor, request: LayerRequest, output: Tensor) -> Tensor:
    """(B, P, K)."""
    how = request.attribution
    assert how is not None
    if how.method == "ablation":
        return ablation(network, images, request.layer, request.positions, output, how.classes)
    path = path_points(how.method, how.num_steps)
    return attribution(
        network, images, request.layer, request.positions, how.maxpool_gradient, output, how.classes, path
    )


def _remark(network: Network, request: LayerRequest) -> str | None:
    how = request.attribution
    if how is None or how.method == "ablation":
        return None
    return attribution_mode(network, None, request.layer, how.maxpool_gradient).remark


def _form(network: Network, layer: str) -> MapForm:
    form = network.runs[layer].form
    assert form is not None, layer
    return form


def _kind(request: LayerRequest) -> MaxPoolGradient:
    return request.attribution.maxpool_gradient if request.attribution is not None else "exact"


def _classes(request: LayerRequest) -> tuple[int, ...] | None:
    return request.attribution.classes if request.attribution is not None else None


def _by_position(request: LayerRequest) -> list[NDArray[Any]]:
    """(B, 2) for each position of an image."""
    return list(np.moveaxis(request.positions, 1, 0))


def _sent(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Integer tensors on the device, by one copy for which the host does not wait."""
    packed = torch.cat([tensor.reshape(-1) for tensor in tensors])
    if device.type == "cuda":
        # Where no more memory can be locked, the host waits for the copy.
        with suppress(RuntimeError):
            packed = packed.pin_memory()
        packed = packed.to(device, non_blocking=True)
    parts = packed.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """A ``LayerSample`` as NumPy arrays."""

    activations: NDArray[np.float32]
    attributions: NDArray[np.float32] | None
    remark: str | None


class Arriving:
    """Samples on their way to the host's memory, by one copy that starts when it is made."""

    def __init__(self, samples: Sequence[LayerSample]) -> None:
        tensors = [t for s in samples for t in (s.activations, s.attributions) if t is not None]
        device = tensors[0].device
        packed = torch.cat([*(t.reshape(-1) for t in tensors), torch.zeros(1, device=device)])
        packed[-1] = torch.isfinite(packed).all()
        self._shapes = [
            (s.activations.shape, None if s.attributions is None else s.attributions.shape, s.remark)
            for s in samples
        ]
        self._copied: torch.cuda.Event | None = None
        self._packed = packed
        if device.type == "cuda":
            try:
                self._packed = packed.to("cpu", non_blocking=True)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                # No page-locked memory is left: the host waits for this copy.
                self._packed = packed.cpu()
                return
            # A thread that waits for it sleeps, and leaves its core to the processes that decode.
            self._copied = torch.cuda.Event(blocking=True)
            self._copied.record(torch.cuda.current_stream(device))

    def wait(self) -> tuple[list[HostSample], bool]:
        """Wait for the samples alone, not for what the device does after them; and whether all are finite."""
        packed = self._packed
        if self._copied is not None:
            self._copied.synchronize()
            # A copy: page-locked memory is scarce, and the rows are kept until the task ends.
            packed = packed.clone()
        start, host = 0, []

        def taken(shape: torch.Size) -> NDArray[np.float32]:
            nonlocal start
            start += shape.numel()
            return packed[start - shape.numel() : start].view(shape).numpy()

        for activations, attributions, remark in self._shapes:
            host.append(
                HostSample(
                    activations=taken(activations),
                    attributions=None if attributions is None else taken(attributions),
                    remark=remark,
                )
            )
        return host, bool(packed[-1])


def on_host(samples: Sequence[LayerSample]) -> tuple[list[HostSample], bool]:
    """Samples in the host's memory, by one copy that the host waits for, and whether all are finite."""
    return Arriving(samples).wait()
