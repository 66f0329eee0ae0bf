"""Every use of a layer, tried once: its map, its cut, the gradient of icons, its attributions.

B = batch, C = channels, S = side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.attribution_price import expensive_because, forwards_of_position_and_image
from atlas_pipeline.models.capture import feature_maps, layer_outputs
from atlas_pipeline.models.layer_override import logits_with
from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest, layer_samples
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.products import BackwardPass
from atlas_pipeline.models.proof_row import Row, Verdict, agreement, guarded, percent
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient
from atlas_pipeline.models.repeatability import ROUNDING, Reading, difference

# Relative. Reordered float32 sums differ by less than the first, attributions (whose sums cancel) by less
# than the second, bfloat16 by less than the third.
_CUT_TOLERANCE, _PRODUCT_TOLERANCE, _BFLOAT16_TOLERANCE = 1e-3, 1e-2, 5e-2
# Derivative times activation is rounding noise below this fraction of its largest possible value.
_NEGLIGIBLE = 1e-5
# Numbers of images and of classes in expensive checks.
_NUM_IMAGES, _NUM_CLASSES = 2, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerUse:
    """The uses of a layer in a run.

    attribution: method, or "none". num_steps: of the method "integrated". positions_per_image: how many each
    image gives. size_px: side of the icons; None: no icons.
    """

    attribution: Literal["gradient", "integrated", "ablation", "none"] = "gradient"
    num_steps: int = 1
    positions_per_image: int = 1
    maxpool_gradient: MaxPoolGradient = "exact"
    size_px: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProof:
    """rows: the findings. attribution: (image, class) for a few images and classes, if there is any."""

    rows: tuple[Row, ...]
    attribution: Tensor | None = None


def prove_layer(
    network: Network,
    images: Tensor,
    layer: str,
    reading: Reading,
    use: LayerUse,
    cut_at: Callable[[str], nn.Module],
    names: Sequence[str],
) -> LayerProof:
    """Try the uses of one layer.

    Args: reading: of ``images``. For the others see ``prove``.
    """
    feature_map = reading.maps[layer]
    rows = [_map_row(layer, feature_map, reading.dtypes[layer], names)]
    if rows[0].verdict == "fails":
        return LayerProof(rows=tuple(rows))
    if use.size_px is not None:
        rows += _icon_rows(network, images, layer, use.size_px, cut_at)
    attributions: list[Tensor] = []
    if use.attribution != "none":
        rows += guarded(
            layer,
            "attribution",
            lambda: _attribution_row(
                network, images[:_NUM_IMAGES], layer, feature_map[:_NUM_IMAGES], use, attributions
            ),
            "set sample.attribution: none",
        )
        if rows[-1].verdict != "fails":
            rows += guarded(layer, "price", lambda: _price_row(network, layer, use))
    return LayerProof(rows=tuple(rows), attribution=attributions[0] if attributions else None)


def _map_row(layer: str, feature_map: Tensor, dtype: torch.dtype, names: Sequence[str]) -> Row:
    """Check that the map is finite, float32, not all 0, and differs between images."""
    channels, height, width = feature_map.shape[1:]
    size = f"{channels} channels, {height} x {width}"
    values = feature_map.float()
    finite = torch.isfinite(values).flatten(1).all(dim=1)
    if not bool(finite.all()):
        said = f"NaN or infinite values for {names[int(finite.int().argmin())]}; check the weights and "
        return Row(layer=layer, check="map", verdict="fails", said=f"{said}model.preprocess")
    if not bool(values.any()):
        return Row(layer=layer, check="map", verdict="note", said=f"{size}; all activations are 0")
    if difference(values, values[:1].expand_as(values)) <= ROUNDING:
        return Row(layer=layer, check="map", verdict="note", said=f"{size}; the same for every image")
    if dtype != torch.float32:
        bits = {torch.bfloat16: "two to three", torch.float16: "three"}.get(dtype, "other")
        kind = str(dtype).removeprefix("torch.")
        said = f"{size}, in {kind} (autocast?): {bits} significant digits"
        return Row(layer=layer, check="map", verdict="note", said=said)
    return Row(layer=layer, check="map", verdict="ok", said=f"{size}, finite, float32")


def _icon_rows(
    network: Network, images: Tensor, layer: str, size_px: int, cut_at: Callable[[str], nn.Module]
) -> list[Row]:
    """Try the network up to the layer, on its own and at the icons' size, with a gradient to the image."""
    parts_made: list[nn.Module] = []
    if failed := guarded(layer, "cut", lambda: parts_made.append(cut_at(layer))):
        return failed
    few = images[:_NUM_IMAGES]
    return [
        *guarded(layer, "cut", lambda: _cut_row(network, few, layer, parts_made[0])),
        *guarded(layer, "gradient", lambda: gradient_row(few, layer, size_px, parts_made[0])),
    ]


def _cut_row(network: Network, images: Tensor, layer: str, part: nn.Module) -> Row:
    with torch.no_grad():
        apart_by = difference(part(images), feature_maps(network, images, [layer])[layer])
    verdict: Verdict = (
        "ok" if apart_by <= _CUT_TOLERANCE else "note" if apart_by <= _BFLOAT16_TOLERANCE else "fails"
    )
    said = f"up to here and the whole network {agreement(apart_by)}"
    if verdict != "ok":
        said = f"the network up to here and the whole differ by {percent(apart_by)}"
    elif not getattr(part, "is_traced", True):
        verdict, said = "note", f"{said}; icons run the network's own code, unfolded: it cannot be traced"
    return Row(layer=layer, check="cut", verdict=verdict, value=apart_by, said=said)


def gradient_row(images: Tensor, layer: str, size_px: int, part: nn.Module) -> Row:
    """Check that a gradient of the map reaches the image, as feature inversion requires.

    The gradient is that of a random weighting of the map.

    Args: images: (B, 3, S, S) in [0, 1], resized to the icons. size_px: side of the icons. part: the network
          cut at the layer.
    """

    def row(verdict: Verdict, said: str, value: float | None = None) -> Row:
        return Row(layer=layer, check="gradient", verdict=verdict, value=value, said=said)

    shown = F.interpolate(images, size=(size_px, size_px), mode="bilinear", antialias=True).requires_grad_()
    with torch.enable_grad():
        feature_map = part(shown)
        if feature_map.dim() != 4 or not feature_map.numel():
            shape = tuple(feature_map.shape)
            return row(
                "fails", f"shape {shape} for images of {size_px} px, no map; set a larger invert.size_px"
            )
        if not feature_map.requires_grad:
            return row(
                "fails",
                "no gradient reaches the image, and icons are made by it; remove torch.no_grad(), "
                "inference_mode() and detach() from the network's code",
            )
        weights = _random_like(feature_map)
        (feature_map.float() * weights).sum().backward()
    gradient = shown.grad
    assert gradient is not None
    if not bool(torch.isfinite(gradient).all()):
        return row("fails", f"the gradient to images of {size_px} px has NaN or infinite values")
    size = f"{feature_map.shape[2]} x {feature_map.shape[3]} map of {size_px} px"
    strength = float(gradient.norm())
    if strength == 0 and bool(feature_map.any()):
        return row("fails", f"the gradient to images of {size_px} px is 0: no icon can be made", 0.0)
    if strength == 0:
        return row("note", f"{size}; all activations are 0 for the images at this size", 0.0)
    return row("ok", f"{size}, finite, reaches the image", strength)


def _random_like(values: Tensor) -> Tensor:
    drawn = torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(values.device)


def _attribution_row(
    network: Network,
    images: Tensor,
    layer: str,
    feature_map: Tensor,
    use: LayerUse,
    attributions: list[Tensor],
) -> Row:
    """Compare the attribution, computed as in the sample stage, with other ways to the same number."""
    norms = feature_map.float().norm(dim=1).flatten(1)
    # Where the activation is largest: at a position of zeros the attribution is 0, correctly.
    positions = torch.stack(
        [norms.argmax(dim=1) // feature_map.shape[3], norms.argmax(dim=1) % feature_map.shape[3]], dim=1
    )
    with torch.no_grad():
        output = layer_outputs(network, images, [layer])[layer]
    removed = ablation(network, images, layer, positions, output)
    if use.attribution == "ablation":
        attributions.append(removed)
        return _row(layer, "ok", "ablation runs")
    # A subset, since a derivative for every single class would take long.
    classes = sorted({k * network.num_classes // _NUM_CLASSES for k in range(_NUM_CLASSES)})
    how = AttributionRequest(method="gradient", maxpool_gradient=use.maxpool_gradient, classes=tuple(classes))
    request = LayerRequest(layer=layer, positions=positions[:, None].cpu().numpy(), attribution=how)
    (sample,) = layer_samples(network, images, [request])
    assert sample.attributions is not None
    found = sample.attributions[:, 0]
    attributions.append(found)
    if not bool(torch.isfinite(found).all()):
        return _row(layer, "fails", "NaN or infinite attributions; set sample.attribution: none")
    mode = attribution_mode(network, images, layer, use.maxpool_gradient)
    if mode.remark is not None:
        return _row(layer, "note", mode.remark)
    weights = torch.zeros(1, network.num_classes, device=images.device)
    weights[:, classes] = _random_like(found[:1].float())
    ours = (found.float() * weights[:, classes]).sum(dim=1)
    theirs, bound = _by_backward(network, images, layer, positions, weights, use.maxpool_gradient)
    if bool(ours.any()) and not bool(theirs.any()):
        return _row(layer, "ok", "product and small steps of the layer agree; no backward pass gets there")
    if bool((torch.maximum(ours.abs(), theirs.abs()) <= _NEGLIGIBLE * bound).all()):
        return _row(
            layer,
            "note",
            "attributions are 0 but for rounding: an activation's size does not change the logits, for what "
            "follows normalises each position; take another layer, or sample.attribution_method: ablation",
        )
    # Relative to the larger of the two, since the product may be 0.
    largest = torch.maximum(ours.norm(), theirs.norm())
    apart_by = float((ours - theirs).norm() / largest) if largest > 0 else 0.0
    if apart_by <= _PRODUCT_TOLERANCE:
        return _row(layer, "ok", f"product and a backward pass {agreement(apart_by)}", apart_by)
    said = f"the forward product and a backward pass differ by {percent(apart_by)}"
    if apart_by <= _BFLOAT16_TOLERANCE:
        return _row(layer, "note", said, apart_by)
    return _row(layer, "fails", f"{said}; set sample.attribution_method: ablation", apart_by)


def _price_row(network: Network, layer: str, use: LayerUse) -> Row | None:
    """The price of the layer's attributions in forward passes, where a cheaper way is closed."""
    assert use.attribution != "none"
    how = AttributionRequest(
        method=use.attribution, num_steps=use.num_steps, maxpool_gradient=use.maxpool_gradient
    )
    reason = expensive_because(network, layer, how)
    if reason is None:
        return None
    of_position, of_image = forwards_of_position_and_image(network, layer, how, use.positions_per_image)
    said = f"attributions take {of_image:.2g} forwards an image"
    if use.positions_per_image > 1:
        said += f", {of_position:.2g} for each further position"
    return Row(layer=layer, check="price", verdict="note", value=of_image, said=f"{said}: {reason}")


def _row(layer: str, verdict: Verdict, said: str, value: float | None = None) -> Row:
    return Row(layer=layer, check="attribution", verdict=verdict, value=value, said=said)


def _by_backward(
    network: Network,
    images: Tensor,
    layer: str,
    positions: Tensor,
    weights: Tensor,
    maxpool_gradient: MaxPoolGradient,
) -> tuple[Tensor, Tensor]:
    """Activation times derivative of the weighted logits, by one backward pass through the network.

    Args:    weights: (1, class).
    Returns: the products (B,), and their largest possible values (B,): the norm of one factor times the norm
             of the other.
    """
    form = network.runs[layer].form
    assert form is not None, layer
    # In new memory, since later layers may work in place.
    passes = BackwardPass(logits_with(network, images, layer), torch.clone, maxpool_gradient)
    gradient, at = passes.gradient(weights.expand_as(passes.logits)), form.place(passes.point, positions)
    derivative, activation = gradient[at].float(), passes.point[at].float()
    return (derivative * activation).sum(dim=1), derivative.norm(dim=1) * activation.norm(dim=1)
