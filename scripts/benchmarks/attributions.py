"""Attributions of many layers and positions: one shared forward pass against a product for each of them.

    python -m scripts.benchmarks.attributions --networks googlenet resnet50 vit_b_16 demo

Prints how many forward passes each way is worth (CPU seconds of this process, alternating, one thread), and
the largest difference relative to each activation's largest attribution. Networks have RANDOM WEIGHTS, but
for the demo; times do not depend on them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from atlas_pipeline.config.loading import load_config
from atlas_pipeline.config.run_settings import model_spec
from atlas_pipeline.models import ModelSpec, Network, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest, layer_samples, map_shape
from atlas_pipeline.models.network_cache import opened_network
from atlas_pipeline.numerics.positions import relative_positions, spatial_positions
from scripts.benchmarks.report import print_table, write_json

LAYERS = {
    "googlenet": [f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")],
    "inception_v1": [f"mixed{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")],
    "resnet50": ["layer1", "layer2", "layer3", "layer4"],
    "vit_b_16": [f"encoder.layers.encoder_layer_{i}" for i in (2, 5, 8, 10)],
    "demo": ["mixed3", "mixed4", "mixed5"],
    "efficientnet_lite0": ["_blocks.10", "_blocks.14"],
}
# It needs two packages (see its config).
NEEDS_PACKAGES = "efficientnet_lite0"


def opened(name: str) -> Network:
    """The network; a head of zeros, as torchvision's transformers have, is drawn anew."""
    if name == "demo":
        return open_network(ModelSpec(source="demo"))
    if name == NEEDS_PACKAGES:
        return opened_network(model_spec(load_config(name)), "cpu")
    if name == "inception_v1":
        return open_network(ModelSpec(source="inception_v1", weights="random"))
    network = open_network(ModelSpec(source="torchvision", name=name, weights="random"))
    for part in network.module.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight, std=0.02)
    return network


class Batch:
    """A batch of noise and the positions of its sample."""

    def __init__(self, network: Network, layers: Sequence[str], size: int, num_positions: int) -> None:
        self.network, self.layers = network, layers
        self.images = noise_images(network.preprocess.crop, seed=7, num_images=size)
        relative = relative_positions(0, range(size), num_positions)
        how = AttributionRequest(method="gradient", maxpool_gradient="smooth")
        self.requests = [
            LayerRequest(
                layer=layer,
                positions=spatial_positions(relative, *map_shape(network, layer)[1:], edge=1),
                attribution=how,
            )
            for layer in layers
        ]

    def forward(self) -> Tensor:
        """Logits alone."""
        with torch.no_grad():
            return self.network.logits(self.images)

    def by_layer(self) -> dict[str, Tensor]:
        """Attributions (image, position, class) by a product for each layer and position."""
        with torch.no_grad():
            outputs = layer_outputs(self.network, self.images, self.layers)
        return {
            one.layer: attribution(
                self.network, self.images, one.layer, one.positions, "smooth", outputs[one.layer]
            )
            for one in self.requests
        }

    def shared(self) -> dict[str, Tensor]:
        """Attributions (image, position, class) as sampling computes them."""
        found = layer_samples(self.network, self.images, self.requests)
        assert all(sample.remark is None for sample in found), [sample.remark for sample in found]
        attributions = [sample.attributions for sample in found]
        return {layer: a for layer, a in zip(self.layers, attributions, strict=True) if a is not None}


def measure(name: str, size: int, num_positions: int, repeats: int) -> dict[str, Any]:
    """CPU seconds of both ways as multiples of a forward pass, and their largest difference."""
    network, layers = opened(name), LAYERS[name]
    batch = Batch(network, layers, size, num_positions)
    expected, found = batch.by_layer(), batch.shared()
    apart = max(
        float(((found[x] - expected[x]).abs() / expected[x].abs().amax(dim=-1, keepdim=True)).max())
        for x in layers
    )
    ways: dict[str, Callable[[], Any]] = {
        "forward": batch.forward,
        "by layer": batch.by_layer,
        "shared": batch.shared,
    }
    seconds = dict.fromkeys(ways, 0.0)
    for _ in range(repeats):
        for way, run in ways.items():
            started = time.process_time()
            run()
            seconds[way] += time.process_time() - started
    forward = seconds["forward"]
    return {
        "network": name,
        "layers": len(layers),
        "a product each, forwards": seconds["by layer"] / forward,
        "shared pass, forwards": seconds["shared"] / forward,
        "faster": seconds["by layer"] / seconds["shared"],
        "largest difference": f"{apart:.1e}",
    }


def main() -> None:
    """Measure the networks and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=list(LAYERS),
        default=[name for name in LAYERS if name != NEEDS_PACKAGES],
    )
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--positions", type=int, default=1, help="positions of an image")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, options.batch, options.positions, options.repeats) for name in options.networks]
    print_table(f"Attributions, batch {options.batch}, {options.positions} positions an image", rows)
    write_json(options.json, {"attributions": rows})


if __name__ == "__main__":
    main()
