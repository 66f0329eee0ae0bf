"""The probe's verdict on the feature maps of an open network, for the check of a network."""

from __future__ import annotations

from collections.abc import Iterable

from atlas_pipeline.models.layers import check_layers
from atlas_pipeline.models.map_probe import changes, patch_images
from atlas_pipeline.models.map_signal import Evidence, evidence
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.token_order import Order, as_map, plain_order


def map_evidence(network: Network, layers: Iterable[str]) -> dict[str, Evidence]:
    """Test with one small batch whether each layer's map, as it is read, follows the image.

    ``str(evidence)`` is one line: "shows where it should at 8 of 8 places", "cannot be told: every position
    answers alike", "shows where it should only at 2 of 8 places". ``evidence.verdict`` is "shown", "untold"
    or "contradicted"; a contradicted layer must not be used.

    Raises: ModelError: no such layer, or a layer without a spatial map.
    """
    layers = list(layers)
    check_layers(network, layers)
    forms = {layer: form for layer in layers if (form := network.runs[layer].form) is not None}
    images = patch_images(network.preprocess.crop).to(network.device)
    seen = changes(
        network.module, images, network.normalise, {layer: (forms[layer].axes,) for layer in layers}
    )
    found: dict[str, Evidence] = {}
    for layer, form in forms.items():
        change = seen.get(layer, {}).get(form.axes)
        if change is None:
            found[layer] = Evidence("untold", why="the network fails on the probe's images")
        elif form.is_tokens:
            num_tokens = change.positions.shape[1]
            order = (
                Order(form.order, num_tokens) if form.order else plain_order(num_tokens, form.num_left_out)
            )
            found[layer] = evidence(as_map(change.positions, order))
        else:
            found[layer] = evidence(change.positions, change.channels)
    return found
