"""Images per second of the network part of sampling: activations and attributions of all layers.

    python -m scripts.benchmarks.gpu_sampling --device cuda --batch 128 256 512

Batches are synthetic. Reading images and writing shards are left out, so torch and torchvision suffice. The
network is GoogLeNet with RANDOM WEIGHTS (times do not depend on them), with the nine layers of the paper.
Prints images per second, the time of the forward pass and of each layer's attribution, and a profile.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from atlas_pipeline.models import ModelSpec, Network, feature_maps, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.numerics.positions import relative_positions, spatial_positions
from scripts.benchmarks.inversion.profiling import shares

LAYERS = [f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]


class Batch:
    """One batch on the device, and the steps of sampling on it."""

    def __init__(self, network: Network, layers: Sequence[str], size: int, device: str) -> None:
        side = network.preprocess.crop
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, generator=generator)
        self.network, self.layers = network, layers
        self.images = images.to(device).float() / 255
        self.maps = self.forward()

    def forward(self) -> dict[str, torch.Tensor]:
        """Feature maps of all layers, from one forward pass."""
        with torch.no_grad():
            return feature_maps(self.network, self.images, self.layers)

    def attribute(self, layer: str) -> None:
        """Compute activations and attributions of a layer and copy them to the CPU, as sampling does."""
        feature_map = self.maps[layer]
        relative = relative_positions(0, range(len(self.images)))
        positions = spatial_positions(relative, *feature_map.shape[2:], edge=1)[:, 0]
        at = torch.from_numpy(positions.astype("int64"))
        at = at.to(feature_map.device)
        feature_map[torch.arange(len(at), device=at.device), :, at[:, 0], at[:, 1]].cpu()
        attribution(self.network, self.images, layer, at, "smooth", feature_map).cpu()

    def sample(self) -> None:
        """Run the forward pass and the attributions of all layers."""
        self.maps = self.forward()
        for layer in self.layers:
            self.attribute(layer)


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median seconds of a call, without the first one."""
    times = []
    for _ in range(repeats + 1):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return sorted(times[1:])[repeats // 2]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure(network: Network, layers: Sequence[str], size: int, device: str, repeats: int) -> dict[str, Any]:
    """Seconds of one batch, in total and by part."""
    batch = Batch(network, layers, size, device)
    whole_s = seconds_of(batch.sample, device, repeats)
    parts = {"forward": seconds_of(batch.forward, device, repeats)}
    for layer in layers:
        parts[layer] = seconds_of(lambda layer=layer: batch.attribute(layer), device, repeats)
    found = {"batch": size, "images_per_s": size / whole_s, "seconds": whole_s, "parts": parts}
    if device.startswith("cuda"):
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def profiled(batch: Batch, device: str) -> dict[str, Any]:
    """Share of the time of one batch, by part and by operation."""
    on_gpu = device.startswith("cuda")
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        batch.sample()
        _wait(device)
    # A kernel is listed both alone and under the operation that launched it; count it once.
    return shares(
        {
            "operation": event.key,
            "calls": event.count,
            "seconds": (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6,
        }
        for event in profiler.key_averages()
        if event.device_type == DeviceType.CPU
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--layers", nargs="+", default=LAYERS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print only JSON")
    options = parser.parse_args()
    spec = ModelSpec(source="torchvision", name="googlenet", weights="random")
    network = open_network(spec).to(options.device)
    rows = [measure(network, options.layers, n, options.device, options.repeats) for n in options.batch]
    operations = profiled(Batch(network, options.layers, options.batch[0], options.device), options.device)
    if options.json:
        print(json.dumps({"device": options.device, "batches": rows, "profile": operations}, indent=1))
        return
    print(f"GoogLeNet (RANDOM WEIGHTS), {len(options.layers)} layers, {options.device}\n")
    for row in rows:
        print(f"batch {row['batch']}: {row['images_per_s']:.1f} images/s")
        for part, seconds in row["parts"].items():
            print(f"  {part:14} {1e3 * seconds / row['batch']:8.3f} ms per image")
    print()
    for line in operations["parts"]:
        print(f"  {line['share']:6.1%} {line['part']}")


if __name__ == "__main__":
    main()
