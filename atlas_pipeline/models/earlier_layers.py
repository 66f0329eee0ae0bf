"""The maps before a layer, and what a position of that layer reads in them. B = batch, C = channels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from atlas_pipeline.models.capture import feature_maps
from atlas_pipeline.models.network import Network

# Enough to see where along the network two paths part.
MAX_LAYERS = 8


def earlier_layers(network: Network, layer: str) -> list[str]:
    """Up to `MAX_LAYERS` maps on the way to a layer, in the order in which they are computed.

    Candidates are the ends of blocks: modules with a map that finish before the layer, are neither part of
    it nor part of another candidate, and run once. If there are more, they are taken at equal distances,
    with the first and the last.
    """
    names = list(network.runs)
    before = [
        name
        for name in names[: names.index(layer)]
        if network.runs[name].is_map and network.runs[name].times == 1 and not name.startswith(f"{layer}.")
    ]
    blocks = [name for name in before if not any(name.startswith(f"{outer}.") for outer in before)]
    if len(blocks) <= MAX_LAYERS:
        return blocks
    return [blocks[i] for i in np.linspace(0, len(blocks) - 1, MAX_LAYERS).round().astype(int)]


def field_means(network: Network, layers: list[str], images: Tensor, field: Tensor) -> Tensor:
    """Mean activation of each layer over a field of pixels.

    Args:    images: (B, 3, side, side) in [0, 1], on the network's device. field: (side, side), weights of
             the pixels, 0 or more; each map is averaged with the field's mean over each position's share of
             the image.
    Returns: (B, layer, C) float32; layers with fewer channels than the widest are filled up with zeros,
             which leaves cosines as they are.
    Raises:  ModelError: see `capture.feature_maps`.
    """
    with torch.no_grad():
        maps = feature_maps(network, images, layers)
        means = []
        for feature_map in maps.values():
            height, width = feature_map.shape[-2:]
            weights = adaptive_avg_pool2d(field.to(feature_map)[None, None], (height, width))[0, 0]
            means.append((feature_map * (weights / weights.sum())).sum(dim=(2, 3)))
        widest = max(mean.shape[1] for mean in means)
        return torch.stack([pad(mean, (0, widest - mean.shape[1])) for mean in means], dim=1)
