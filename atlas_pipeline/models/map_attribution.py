"""Attribution of a layer's whole output for one picture: to classes, and between two layers.

B = batch, C = channels, P = positions of the layer's map, row by row, K = classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution import path_points
from atlas_pipeline.models.capture import capture, layer_outputs
from atlas_pipeline.models.layer_override import Replace, logits_with
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.products import BackwardPass, Logits, forward_product, plain_attention
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient, max_pool_gradient

# Points of a path in one forward pass.
POINTS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class MapGradients:
    """Gradients of logits by a layer's output h, and what their product with h adds up to.

    Attributes:
        gradients: (K, C, P) float32, of the positions of the map.
        outside: (K,) float64, the part of ``h . gradient`` that tokens without a position carry.
        expected: (K,) float64, what ``h . gradient`` shall add up to, computed in another way; NaN where
            that way is closed. For a gradient it is the forward-mode derivative of the logits along h; for
            a path, the change of the logits as the output goes from zero to h.
    """

    gradients: Tensor
    outside: Tensor
    expected: Tensor


def map_of(network: Network, image: Tensor, layer: str) -> Tensor:
    """The activations (C, P) float32 of one image (1, 3, side, side), in [0, 1] or uint8.

    Raises: ModelError: no such layer, or no spatial map.
    """
    with torch.no_grad():
        output = layer_outputs(network, image, [layer])[layer]
        return network.feature_map(layer, output)[0].flatten(1)


@ieee()
def class_gradients(
    network: Network,
    image: Tensor,
    layer: str,
    classes: Sequence[int],
    maxpool_gradient: MaxPoolGradient = "exact",
) -> MapGradients:
    """The gradients of logits at the layer's output.

    Args:   image: (1, 3, side, side) in [0, 1] or uint8, on the network's device. maxpool_gradient: see
            `attribution`.
    Raises: ModelError: no such layer, or no spatial map.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> network = open_network(ModelSpec(source="demo"))
    >>> class_gradients(network, torch.rand(1, 3, 64, 64), "mixed4", [3, 7]).gradients.shape
    torch.Size([2, 128, 64])
    """
    check_layers(network, [layer])
    with torch.no_grad():
        output = layer_outputs(network, image, [layer])[layer]
    logits = logits_with(network, image, layer, output)
    along = _along(logits, maxpool_gradient)
    expected = torch.full((len(classes),), torch.nan, dtype=torch.float64)
    if along is not None:
        expected = along[0, list(classes)].double().cpu()
    passes = BackwardPass(logits, torch.clone, maxpool_gradient)
    return _collected(network, layer, output, passes.gradients(classes, batched=False), expected)


@ieee()
def path_gradients(
    network: Network, image: Tensor, layer: str, classes: Sequence[int], num_steps: int
) -> MapGradients:
    """The mean gradients of logits as the whole output grows from zero to itself along a straight line.

    With more steps, ``h . gradient`` approaches the change of the logits (integrated gradients: Sundararajan
    et al., 2017). Max-pools have their exact gradient, without which this does not hold.

    Args: as for ``class_gradients``. num_steps: midpoints of equal steps.
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    with torch.no_grad():
        output = layer_outputs(network, image, [layer])[layer]
        logits = logits_with(network, image, layer, output)
        change = (logits(torch.clone) - logits(torch.zeros_like))[0, list(classes)]
    total = [torch.zeros_like(output, dtype=torch.float64) for _ in classes]
    for points in torch.tensor(path_points("integrated", num_steps)).split(POINTS_AT_ONCE):
        repeated = output.repeat_interleave(len(points), form.batch_axis)
        at_points = logits_with(network, image.expand(len(points), -1, -1, -1), layer, repeated)
        passes = BackwardPass(at_points, _scaled_by(points, form), "exact")
        for sums, gradient in zip(total, passes.gradients(classes, batched=False), strict=True):
            sums += gradient.double().sum(form.batch_axis, keepdim=True)
    means = ((sums / num_steps).to(output.dtype) for sums in total)
    return _collected(network, layer, output, means, change.double().cpu())


def _scaled_by(points: Tensor, form: MapForm) -> Replace:
    def scale(output: Tensor) -> Tensor:
        shape = [1] * output.dim()
        shape[form.batch_axis] = len(points)
        return output * points.to(output).view(shape)

    return scale


def _along(logits: Logits, maxpool_gradient: MaxPoolGradient) -> Tensor | None:
    """The derivative (1, class) of the logits along the output itself; None where forward mode is closed."""
    try:
        return forward_product(logits, torch.clone, torch.clone, maxpool_gradient)
    except (NotImplementedError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return None


def _collected(
    network: Network, layer: str, output: Tensor, gradients: Iterable[Tensor], expected: Tensor
) -> MapGradients:
    """Read gradients of the output as maps. output: of one image."""
    of_maps, outside = [], []
    activation = network.feature_map(layer, output)[0].flatten(1).double()
    for gradient in gradients:
        of_maps.append(network.feature_map(layer, gradient)[0].flatten(1))
        inside = (activation * of_maps[-1].double()).sum()
        outside.append((output.double() * gradient.double()).sum() - inside)
    return MapGradients(torch.stack(of_maps).cpu(), torch.stack(outside).cpu(), expected)


@ieee()
def attribution_between(
    network: Network,
    image: Tensor,
    earlier: str,
    later: str,
    maxpool_gradient: MaxPoolGradient = "exact",
) -> Tensor:
    """Attribution of each position of a later layer to the positions of an earlier one.

    A later position counts by the length of its activation: the derivative is that of ``h . u``, for u the
    unit vector along the activation (Olah et al., "The Building Blocks of Interpretability", 2018).

    Args:    image: (1, 3, side, side) in [0, 1] or uint8, on the network's device.
    Returns: (P of later, P of earlier) float32, in the later layer's units; 0 where no path leads.
    Raises:  ModelError: no such layer, or no spatial map.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> network = open_network(ModelSpec(source="demo"))
    >>> attribution_between(network, torch.rand(1, 3, 64, 64), "mixed3", "mixed4").shape
    torch.Size([64, 256])
    """
    with _between(network, image, earlier, later, maxpool_gradient) as (point, later_map):
        reached = later_map[0].flatten(1)
        before = network.feature_map(earlier, point.detach())[0].flatten(1)
        lengths = reached.detach().norm(dim=0).clamp(min=torch.finfo(reached.dtype).tiny)
        projected = (reached * (reached.detach() / lengths)).sum(dim=0)
        found = torch.zeros(len(projected), before.shape[1])
        if not projected.requires_grad:
            return found
        for position, value in enumerate(projected):
            (gradient,) = torch.autograd.grad(value, point, retain_graph=True, materialize_grads=True)
            of_map = network.feature_map(earlier, gradient)[0].flatten(1)
            found[position] = (before * of_map).sum(dim=0).cpu()
    return found


@ieee()
def unit_inputs(
    network: Network,
    images: Tensor,
    earlier: str,
    later: str,
    units: Tensor,
    positions: Tensor,
    maxpool_gradient: MaxPoolGradient = "exact",
) -> Tensor:
    """Attribution of one unit at one position of each image to the whole map of an earlier layer.

    It is ``h d a / d h``, for a the unit's activation and h the earlier map. Where only linear operations lie
    between the two, the derivative is the unit's weights W, and the attribution is ``W h``. Its sum is the
    derivative of the activation along the earlier map.

    Args:    images: (B, 3, side, side) in [0, 1] or uint8, on the network's device. units: (B,) int64.
             positions: (B, 2) int64, row and column in the later layer's map.
    Returns: (B, C, rows, columns) float32 of the earlier layer, on the CPU; 0 where no path leads.
    Raises:  ModelError: no such layer, or no spatial map.
    Source:  Cammarata et al., "Curve Detectors" (Distill 2020), attribution to the layer before.

    >>> from atlas_pipeline.models import ModelSpec, open_network
    >>> network, at = open_network(ModelSpec(source="demo")), torch.tensor([[3, 4]])
    >>> unit_inputs(network, torch.rand(1, 3, 64, 64), "mixed3", "mixed4", torch.tensor([5]), at).shape
    torch.Size([1, 64, 16, 16])
    """
    with _between(network, images, earlier, later, maxpool_gradient) as (point, reached):
        before = network.feature_map(earlier, point.detach())
        values = reached[torch.arange(len(images)), units, positions[:, 0], positions[:, 1]]
        if not values.requires_grad:
            return torch.zeros(before.shape)
        # Images do not affect each other, so the gradient of the sum is that of each image's own unit.
        (gradient,) = torch.autograd.grad(values.sum(), point, materialize_grads=True)
        return (before * network.feature_map(earlier, gradient)).float().cpu()


@contextmanager
def _between(
    network: Network, images: Tensor, earlier: str, later: str, maxpool_gradient: MaxPoolGradient
) -> Iterator[tuple[Tensor, Tensor]]:
    """The earlier layer's output, as a leaf, and the later layer's map (B, C, rows, columns) that follows."""
    check_layers(network, [earlier, later])
    points: list[Tensor] = []
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(plain_attention())

        def start(output: Tensor) -> Tensor:
            stack.enter_context(max_pool_gradient(maxpool_gradient))
            points.append(output.detach().clone().requires_grad_())
            # Later layers may work in place, which a leaf does not allow.
            return points[0].clone()

        with capture(network.module, [later]) as outputs:
            logits_with(network, images, earlier)(start)
        yield points[0], network.feature_map(later, outputs[later])
