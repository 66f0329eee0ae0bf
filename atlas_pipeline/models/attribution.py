"""How much one activation of each image counts for each logit. B = batch, C = channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_form import MapForm
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient, max_pool_gradient
from atlas_pipeline.models.replaced import Replace, logits_with, scaled

AttributionMethod = Literal["gradient", "integrated"]


def path_points(method: AttributionMethod, num_steps: int) -> tuple[float, ...]:
    """The shares of an activation at which ``attribution`` takes derivatives, of which the mean counts.

    "gradient": at the activation as it is. "integrated": at the midpoints of ``num_steps`` equal steps from
    none of it to all of it. The more steps, the nearer the sum is to what ``ablation`` finds (completeness of
    integrated gradients: Sundararajan et al., 2017), with exact max-pools.
    """
    if method == "gradient":
        return (1.0,)
    return tuple((k + 0.5) / num_steps for k in range(num_steps))


def attribution(
    network: Network,
    images: Tensor,
    layer: str,
    positions: Any,
    maxpool_gradient: MaxPoolGradient = "exact",
    feature_map: Tensor | None = None,
    classes: Sequence[int] | None = None,
    path: Sequence[float] = (1.0,),
) -> Tensor:
    """Attribution ``a . d logit / d h`` to every logit of one activation a = h[:, row, col] an image.

    All classes come from one forward-mode product: the logits' derivative along "h grows by a at the
    position, and nowhere else". On a CPU it takes about as long as three or four forwards from the layer on.
    (Carter et al., 2019.)

    Args:
        images: (B, 3, height, width) in [0, 1] or uint8, on the network's device.
        positions: (B, 2) integers, row and column in the layer's map.
        maxpool_gradient: "exact", or "smooth" for the relaxed max-pool of Building Blocks.
        feature_map: (B, C, rows, columns), this layer's for these images, where it is at hand: where the
            logits depend on the layer alone, a forward from the layer on then suffices.
        classes: which logits; None: all.
        path: the shares of the activation that stand at the position when the derivative is taken, a product
            each; their mean is returned. See ``path_points``.
    Returns: (B, class) float32, in logits.
    Raises:  ModelError: no such layer, no spatial map, or an operation without forward-mode derivative.
             IndexError: a position outside the map.
    """
    check_layers(network, [layer])
    form = network.runs[layer].form
    assert form is not None, layer
    logits = logits_with(network, images, layer, feature_map)
    try:
        tangents = [_tangent(logits, form, positions, maxpool_gradient, share) for share in path]
    except NotImplementedError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{network.name} has no attribution from layer '{layer}' ({reason}); set sample.attribution: none"
        ) from error
    mean = torch.stack(tangents).mean(dim=0)
    return mean if classes is None else mean[:, list(classes)]


def _tangent(
    logits: Callable[[Replace], Tensor],
    form: MapForm,
    positions: Any,
    maxpool_gradient: MaxPoolGradient,
    share: float,
) -> Tensor:
    """The logits' tangent where ``share`` of the activation stands at the position."""
    with ExitStack() as stack:
        # Inference mode drops tangents without a word: it is left first.
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(_plain_attention())
        stack.enter_context(forward_ad.dual_level())

        def start(output: Tensor) -> Tensor:
            # Pools before the layer carry no tangent: their relaxation would be work for nothing.
            stack.enter_context(max_pool_gradient(maxpool_gradient))
            tangent = _own_activation(output, form, positions)
            return forward_ad.make_dual(scaled(output, form, positions, share), tangent)

        found = logits(start)
        tangent = forward_ad.unpack_dual(found).tangent
    # None: the logits do not depend on the layer.
    return torch.zeros_like(found) if tangent is None else tangent


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention made of operations that have forward-mode derivatives; the fused ones have none."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _own_activation(output: Tensor, form: MapForm, positions: Any) -> Tensor:
    """Of a layer's output the activation at the position, and zero elsewhere, other tokens too."""
    tangent = torch.zeros_like(output)
    at = form.place(output, positions)
    tangent[at] = output[at]
    return tangent
