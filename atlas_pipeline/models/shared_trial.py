"""Whether the shared pass gives a layer's attributions, tried once on the network itself."""

from __future__ import annotations

import torch
from torch import Tensor

from atlas_pipeline.models.arithmetic import ieee
from atlas_pipeline.models.attribution_mode import TOLERANCE, agree, attribution_mode, random_direction
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.graph import same, traced_network
from atlas_pipeline.models.layer_override import logits_with
from atlas_pipeline.models.network import Network
from atlas_pipeline.models.out_of_memory import is_out_of_memory
from atlas_pipeline.models.plain_module import first_line
from atlas_pipeline.models.products import forward_product
from atlas_pipeline.models.relaxed_pool import MaxPoolGradient
from atlas_pipeline.models.shared_pass import SharedPass


def shared_pass(network: Network, layer: str, maxpool_gradient: MaxPoolGradient) -> SharedPass | str:
    """The pass that gives the layer's attributions beside those of other layers, or why there is none.

    Tried once per layer and kind, then cached in the network. The answer does not depend on other layers. The
    layer's map in the pass must equal that of ``feature_maps``, and the derivatives along a random direction
    those of ``forward_product``.

    Raises: ModelError: as ``attribution_mode``.
    """
    key = (layer, maxpool_gradient)
    if key not in network.shared_passes:
        network.shared_passes[key] = _tried(network, layer, maxpool_gradient)
    return network.shared_passes[key]


@ieee()
def _tried(network: Network, layer: str, maxpool_gradient: MaxPoolGradient) -> SharedPass | str:
    mode = attribution_mode(network, None, layer, maxpool_gradient)
    if mode.mode != "forward":
        return "forward mode does not give them"
    known = [found for found in network.shared_passes.values() if isinstance(found, SharedPass)]
    if not known:
        traced = traced_network(network)
        if traced is None:
            return "the network's code cannot be traced"
        known = [SharedPass(network, traced)]
    shared = known[0]
    if layer not in shared.outputs:
        return "the layer's output is no single value of the traced code"
    form = network.runs[layer].form
    assert form is not None, layer
    direction, seen = random_direction(form), list[Tensor]()

    def noted(output: Tensor) -> Tensor:
        seen.append(output.clone())
        return direction(output)

    images = noise_images(network.preprocess.crop, seed=0, num_images=2).to(network.device)
    with torch.no_grad():
        output = layer_outputs(network, images, [layer])[layer]
    whole = logits_with(network, images, layer, output if mode.through_suffix else None)
    expected = forward_product(whole, torch.clone, direction, maxpool_gradient)
    try:
        found = shared.derivatives(images, {layer: (layer, noted)}, maxpool_gradient)[layer]
    except Exception as error:
        # Traced code lacks its surroundings and may fail to run; user code may raise anything.
        if is_out_of_memory(error):
            raise
        return first_line(error)
    if found is None or expected is None or not agree(found.cpu(), expected.float().cpu(), TOLERANCE):
        return "the traced code gives other derivatives"
    if not same(network.feature_map(layer, seen[0]), network.feature_map(layer, output)):
        return "the traced code gives other activations"
    return shared
